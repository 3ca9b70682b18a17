"""Write what follows from other files here: Grafana's dashboards, and the operator's rules.

python deploy/generate.py            writes them
python deploy/generate.py --check    exits 1 if one of them is not what it would write
"""

import argparse
import json
import sys
import textwrap
from pathlib import Path

from grafana.job import JOB
from grafana.models import MODELS
from grafana.overview import OVERVIEW
from grafana.servers import SERVERS

DEPLOY = Path(__file__).parent
_RULES = DEPLOY / "prometheus" / "rules.yml"
_OPERATOR_HEAD = """\
# Written by deploy/generate.py from deploy/prometheus/rules.yml; change that, then run it again.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: fornada
spec:
"""


def files() -> dict[Path, str]:
    """The content of every generated file, by its path."""
    _, groups, rest = _RULES.read_text(encoding="utf-8").partition("groups:\n")
    generated = {
        DEPLOY / "k8s/components/monitoring/rules.yaml": _OPERATOR_HEAD
        + textwrap.indent(groups + rest, "  ")
    }
    for dashboard in (OVERVIEW, JOB, MODELS, SERVERS):
        path = DEPLOY / "grafana" / "dashboards" / f"{dashboard.uid}.json"
        generated[path] = json.dumps(dashboard.to_json(), indent=2, ensure_ascii=False) + "\n"
    return generated


def main() -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(description="Write dashboards and rules.")
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = [
        path
        for path, text in files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if check:
        for path in stale:
            sys.stderr.write(f"{path} is stale; run `make docs`\n")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files()[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
