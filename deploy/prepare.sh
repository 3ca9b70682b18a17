#!/bin/sh
# Makes what docker-compose.yml asks for: secrets in deploy/secrets, and `.env`. Keeps what exists.
set -eu
umask 077
cd "$(dirname "$0")/.."
secrets=deploy/secrets
mkdir -p "$secrets"
chmod 700 "$secrets"

random() {
  od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'
}

# Readable by the containers' users, which differ; nobody else enters the folder.
keep() {
  [ -e "$secrets/$1" ] || { printf '%s\n' "$2" > "$secrets/$1" && chmod 444 "$secrets/$1"; }
}

keep deployment_keys "$(random 32)"
keep api_key "$(random 32)"
keep grafana_password "$(random 12)"
keep s3_secret_access_key "$(random 20)"
keep redis_password "$(random 24)"
keep redis_conf "requirepass $(cat "$secrets/redis_password")"
keep redis_url "redis://:$(cat "$secrets/redis_password")@redis:6379/0"
[ -e .env ] || cp deploy/.env.example .env
