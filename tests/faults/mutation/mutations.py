"""Mutations that break the protocol, each with the tests that must fail."""

from dataclasses import dataclass

_DEVICE = "tests/unit/worker/compute/test_device_calls.py::test_a_request_of_which_"
_SERVICE = "tests/unit/worker/shards/test_service.py::test_"
_CELERY_QUEUE = "tests/integration/fornada/test_celery_queue.py::test_"
_LOOKS = "tests/unit/fornada/jobs/upkeep/test_looks.py::test_"
_BACKLOG = "tests/integration/gateway/test_backlog.py::test_"
_RECONCILER = "tests/unit/worker/test_reconciler.py::test_"
_WORKER = "tests/integration/worker/test_worker.py::test_"
_JOB_STORE = "tests/integration/fornada/test_job_store.py::test_"
_CENSUS = "tests/unit/fornada/jobs/test_census.py::test_"
_SHARD_FILES = "tests/unit/fornada/jobs/test_shard_files.py::test_"
_POOL = "tests/unit/fornada/formats/test_decoder_pool.py::test_"
_BLOCKS = "tests/unit/worker/shards/test_blocks.py::test_"
_COORDINATION = "tests/integration/fornada/test_coordination.py::test_"
_STORE_ANSWERS = "tests/integration/fornada/test_store_answers.py::test_"
_STORE_OVER_TLS = "tests/integration/fornada/test_store_over_tls.py::test_"
_KINDS_OF_BUCKETS = "tests/integration/fornada/test_kinds_of_buckets.py::test_"
_OBJECT_STORE = "tests/integration/fornada/test_object_store.py::test_"
_JOB = "tests/unit/producer/test_job.py::test_"
_BOUNDED_READS = "tests/unit/fornada/storage/test_bounded_reads.py::test_"
_NESTING = "tests/unit/fornada/formats/test_nesting.py::test_"
_PREDICT = "tests/unit/producer/test_predict.py::test_"
_ASYNC_CLIENT = "tests/unit/producer/test_async_client.py::test_"
_PREDICT_HTTP = "tests/integration/gateway/test_predict.py::test_"
_OIP = "tests/integration/gateway/test_oip.py::test_"
_CLIENT = "tests/unit/producer/test_client.py::test_"
_FIGURES = "tests/unit/worker/shards/test_figures.py::test_"
_SMALL = "tests/unit/worker/shards/test_small_jobs.py::test_"
_SMALL_RECONCILED = "tests/unit/worker/test_small_jobs_reconciled.py::test_"
_SUBMITTED = "tests/unit/producer/submitting/test_small_jobs.py::test_"
_FORGED = "tests/unit/worker/test_forged_in_redis.py::test_"
_CONTENT_IDS = "tests/unit/fornada/jobs/test_ids.py::test_"
_REDIS_SMALL = "tests/integration/fornada/test_small_jobs_in_redis.py::test_"
_BYTES = "tests/integration/worker/test_reproducible_bytes.py::test_"
_FILES = "tests/unit/fornada/jobs/test_shard_files.py::test_"
_ITEMS_OF_IMAGES = "tests/unit/fornada/formats/test_image_items.py::test_"
_TAR = "tests/unit/fornada/formats/test_tar.py::test_"
_TABLES = "tests/unit/fornada/jobs/test_table_items.py::test_"
_STORED_TABLES = "tests/unit/producer/submitting/test_stored_tables.py::test_"
_STORED = "tests/unit/producer/submitting/test_stored_sharding.py::test_"
_RESULTS = "tests/unit/producer/test_results.py::test_"
_ARCHIVES = "tests/faults/test_archives_fuzzed.py::test_"
_PREDICTOR = "tests/unit/worker/compute/test_predictor.py::test_"
_UPKEEP = "tests/unit/producer/upkeep/test_upkeep.py::test_"
_JOB_INPUTS = "tests/unit/fornada/jobs/test_job_inputs.py::test_"
_PREFIXES = "tests/unit/fornada/trust/test_input_prefixes.py::test_"
_KINDS_SHOWN = "tests/unit/producer/commands/test_kinds_commands.py::test_"
_OUTPUT = "tests/unit/fornada/commands/test_output.py::test_"
_BUCKET_ID = "tests/unit/fornada/jobs/test_bucket_id.py::test_"
_GUARD = "tests/integration/fornada/test_guard.py::test_"
_QUEUE = "tests/faults/test_queue_fuzzed.py::test_"
_LOGS = "tests/unit/fornada/test_logs.py::test_"
_SPANS = "tests/unit/worker/shards/test_spans.py::test_"
_RECORDER = "tests/unit/fornada/metrics/test_recorder.py::test_"
_SLOTS = "tests/unit/fornada/metrics/test_slots.py::test_"
_BACKLOG_WATCH = "tests/unit/fornada/jobs/upkeep/test_backlog_watch.py::test_"
_GATEWAY_METRICS = "tests/integration/gateway/test_metrics.py::test_"
_PRIVATE = "tests/integration/worker/test_private_logs.py::test_"
_FIRST_LOAD = "tests/unit/worker/compute/test_first_load.py::test_"
_TILES = "tests/unit/worker/compute/test_tile_choice.py::test_"
_WALL = "tests/unit/model_store/wall/test_process.py::test_"
_CACHE = "tests/unit/worker/compute/test_model_cache.py::test_"
_GATEWAY_INPUTS = "tests/integration/gateway/test_inputs.py::test_"
_GATEWAY_RESULTS = "tests/integration/gateway/test_results.py::test_"
_GATEWAY_JOBS = "tests/integration/gateway/test_jobs.py::test_"
_LOOK_TIMES = "tests/unit/producer/following/test_waiting.py::test_"
_WAITING = "tests/integration/producer/test_waiting.py::test_"
_DELIVERIES = "tests/integration/gateway/webhooks/test_deliveries.py::test_"
_GATEWAY_EVENTS = "tests/integration/gateway/test_events.py::test_"
_CONSOLE_PAGES = "tests/integration/gateway/console/test_pages.py::test_"
_CONSOLE_SESSIONS = "tests/integration/gateway/console/test_sessions.py::test_"
_WEBHOOK_CALLS = "tests/integration/gateway/webhooks/test_calls.py::test_"
_MACHINE = (
    "tests/faults/test_protocol_state_machine.py::"
    "test_nothing_is_lost_and_nothing_counts_twice_whatever_happens[conditional]"
)


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """A replacement in one file of the product.

    Args:
        name: Its name on the command line.
        path: The file, relative to the repository's root.
        old: Text that the file has exactly once.
        new: Its replacement.
        tests: Node ids of tests, each of which must fail.
        raises: The error that the tests fail with, if not an assertion.
    """

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]
    raises: str | None = None


MUTATIONS = (
    # The commit.
    Mutation(
        name="commit-overwrites",
        path="fornada/jobs/outcome_store.py",
        old="elif self.objects.put_if_absent(key, data):",
        new="else:\n            self.objects.put(key, data)",
        tests=(
            f"{_SERVICE}the_outcome_of_the_attempt_that_came_first_holds[conditional]",
            f"{_JOB_STORE}the_first_outcome_holds[rclone]",
            _MACHINE,
        ),
    ),
    Mutation(
        name="condition-not-sent",
        path="fornada/storage/s3/fast/wire.py",
        old='{"If-None-Match": "*"} if only_if_absent else {}',
        new="{}",
        tests=(f"{_OBJECT_STORE}stores_tell_whether_they_honour_conditions",),
    ),
    Mutation(
        name="condition-not-sent-by-boto3",
        path="fornada/storage/s3/puts.py",
        old='Key=key, Body=data, IfNoneMatch="*", **given',
        new="Key=key, Body=data, **given",
        tests=(f"{_OBJECT_STORE}boto3_alone_sends_the_condition_too",),
    ),
    Mutation(
        name="forbidden-is-transient",
        path="fornada/storage/s3/refusals/answers.py",
        old="_FORBIDDEN = Meaning(\n    StoreAccessError,",
        new="_FORBIDDEN = Meaning(\n    StoreUnavailableError,",
        tests=(f"{_STORE_ANSWERS}a_permanent_answer_is_not_one_that_passes",),
    ),
    Mutation(
        name="slowdown-is-permanent",
        path="fornada/storage/s3/refusals/answers.py",
        old="_BUSY = Meaning(StoreUnavailableError,",
        new="_BUSY = Meaning(StoreRefusedError,",
        tests=(f"{_STORE_ANSWERS}a_permanent_answer_is_not_one_that_passes",),
    ),
    Mutation(
        name="certificate-not-verified",
        path="fornada/storage/s3/address.py",
        old="    context.load_verify_locations(ca_bundle(session))\n",
        new="    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE\n",
        tests=(
            f"{_STORE_OVER_TLS}a_certificate_that_is_not_trusted_or_for_another_host_is_refused",
        ),
    ),
    Mutation(
        name="credentials-not-renewed",
        path="fornada/storage/s3/fast/wire.py",
        old="        return self._credentials.get_frozen_credentials()\n",
        new="        self._first = getattr(self, '_first', None)\n"
        "        self._first = self._first or self._credentials.get_frozen_credentials()\n"
        "        return self._first\n",
        tests=(f"{_STORE_OVER_TLS}credentials_of_a_web_identity_are_renewed_while_a_job_runs",),
    ),
    Mutation(
        name="condition-not-raced",
        path="fornada/storage/s3/conditions.py",
        old="honoured=honoured and winners <= 1,",
        new="honoured=honoured,",
        tests=(f"{_KINDS_OF_BUCKETS}a_store_that_checks_before_it_writes_is_found_out_by_a_race",),
    ),
    Mutation(
        name="refused-commit-not-read-back",
        path="fornada/jobs/outcome_store.py",
        old="return self.outcome(job_id, shard) or outcome",
        new="return outcome",
        tests=(
            f"{_SERVICE}dead_and_ok_at_once_leave_one_end[conditional-True]",
            f"{_JOB_STORE}the_first_outcome_holds[memory]",
        ),
    ),
    Mutation(
        name="lost-answer-not-read-back",
        path="fornada/storage/s3/store.py",
        old="return self._beginning(key, data) == data",
        new="return not self.conditional_writes",
        tests=(f"{_OBJECT_STORE}put_if_absent_of_the_same_bytes_says_they_are_there[moto]",),
    ),
    Mutation(
        name="one-data-key-a-shard",
        path="fornada/jobs/outcome_store.py",
        old="key = keys.JobKeys(manifest.job_id).data(shard, attempt, suffix)",
        new='key = keys.JobKeys(manifest.job_id).data(shard, "data", suffix)',
        tests=(
            f"{_SERVICE}an_attempt_that_is_overtaken_leaves_the_committed_bytes_alone[conditional]",
            _MACHINE,
        ),
    ),
    Mutation(
        name="dead-beats-ok",
        path="fornada/jobs/outcome_store.py",
        old="where.insert(0 if dead_first else 1, keys.JobKeys(job_id).dead(shard))",
        new="where.insert(0, keys.JobKeys(job_id).dead(shard))",
        tests=(
            f"{_SERVICE}dead_and_ok_at_once_leave_one_end[unconditional-True]",
            f"{_JOB_STORE}dead_and_ok_leave_the_same_end_for_every_reader[rclone-order0]",
        ),
    ),
    Mutation(
        name="later-outcome-wins",
        path="fornada/jobs/outcome_store.py",
        old="if final is not None and final.outcome is not None:",
        new="if False:",
        tests=(
            f"{_JOB_STORE}the_outcome_that_the_job_ended_with_beats_others[rclone-ok]",
            f"{_JOB_STORE}the_outcome_that_the_job_ended_with_beats_others[memory-dead]",
        ),
    ),
    Mutation(
        name="late-ok-beats-the-end",
        path="fornada/jobs/outcome_store.py",
        old="where.insert(0 if dead_first else 1, keys.JobKeys(job_id).dead(shard))",
        new="where.insert(1, keys.JobKeys(job_id).dead(shard))",
        tests=(f"{_JOB_STORE}a_dead_shard_stays_dead_whatever_comes_after_the_end[rclone]",),
    ),
    # What anyone may have put into Redis, or changed in the store.
    Mutation(
        name="unsigned-manifest-believed",
        path="fornada/jobs/ids.py",
        old='if not deployment_keys.verify("manifest", message.job_id, text, message.hmac):',
        new="if False:",
        tests=(
            f"{_FORGED}counters_in_redis_make_no_job_of_a_message[no key-conditional-unsigned]",
            f"{_FORGED}counters_in_redis_make_no_job_of_a_message[key-unconditional-other]",
            f"{_CONTENT_IDS}a_manifest_that_no_key_signed_is_read_from_the_store[none]",
        ),
    ),
    Mutation(
        name="end-of-another-not-waited-for",
        path="fornada/coordination/signed.py",
        old="return now_s - since_s >= _WRITTEN_WITHIN_S",
        new="return True",
        tests=(
            (
                f"{_FORGED}an_end_that_another_process_is_about_to_write_is_waited_for"
                "[no key-unconditional]"
            ),
        ),
    ),
    Mutation(
        name="signature-not-checked",
        path="fornada/coordination/signed.py",
        old="if self._keys.verify(kind, name, answer, text):",
        new="if True:",
        tests=(
            (
                f"{_FORGED}an_end_that_was_put_into_redis_first_is_not_the_jobs"
                "[key-unconditional-other key-own]"
            ),
            (
                f"{_FORGED}an_end_that_was_put_into_redis_first_is_not_the_jobs"
                "[no key-unconditional-other job-generated]"
            ),
        ),
    ),
    Mutation(
        name="replayed-end-believed",
        path="fornada/jobs/summary.py",
        old="if submission == manifest.created_at.isoformat().encode():",
        new="if True:",
        tests=(
            (
                f"{_FORGED}the_signed_end_of_an_earlier_job_of_the_id_is_not_that_of_a_later_one"
                "[key-unconditional]"
            ),
        ),
    ),
    Mutation(
        name="replayed-decision-believed",
        path="fornada/jobs/creation.py",
        old="if abs(first.created_at - proposed.created_at) > _SAME_CREATION:",
        new="if False:",
        tests=(
            f"{_FORGED}a_decision_about_a_new_job_does_not_set_its_deadline[key-unconditional-old]",
        ),
    ),
    Mutation(
        name="purged-job-ended",
        path="fornada/jobs/store.py",
        old="            self.require(job_id)\n        except JobNotFoundError as exc:",
        new="            pass\n        except JobNotFoundError as exc:",
        tests=(
            (
                f"{_FORGED}a_message_that_is_sent_again_changes_no_job_that_was_over"
                "[key-conditional-purged]"
            ),
        ),
    ),
    Mutation(
        name="earlier-end-not-looked-for",
        path="fornada/jobs/store.py",
        old="                return _or_damaged(lambda: self.final(job_id))\n",
        new="                return None\n",
        tests=(
            (
                f"{_FORGED}a_message_that_is_sent_again_changes_no_job_that_was_over"
                "[key-unconditional-cancelled]"
            ),
        ),
    ),
    Mutation(
        name="invented-bits-kept",
        path="fornada/jobs/upkeep/looks.py",
        old="self._recovery.forget_done(job_id, sorted(invented))",
        new="pass",
        tests=(
            f"{_FORGED}shards_that_redis_calls_done_are_done[key-conditional-small-all and more]",
        ),
    ),
    Mutation(
        name="note-of-an-end-kept",
        path="fornada/jobs/upkeep/looks.py",
        old="self._recovery.open_job(job_id)",
        new="pass",
        tests=(
            f"{_FORGED}a_reconciler_that_looks_at_a_job_corrects_that_it_ended[key-conditional-large]",
        ),
    ),
    Mutation(
        name="end-in-redis-believed",
        path="worker/shards/attempts.py",
        old="if self._ended.has_ended(run.job_id):",
        new="if True:",
        tests=(f"{_FORGED}a_job_that_redis_calls_ended_is_run[no key-unconditional-large]",),
    ),
    Mutation(
        name="small-jobs-lost-twice-not-looked-at",
        path="fornada/jobs/upkeep/reconciler.py",
        old="if lost is not None and not job.was_lost:",
        new="if lost is not None:",
        tests=(
            f"{_FORGED}a_reconciler_that_looks_at_a_job_corrects_that_it_ended[key-conditional-small]",
        ),
    ),
    Mutation(
        name="first-attempt-does-not-look",
        path="fornada/jobs/outcome_store.py",
        old="if not self._exists(key):",
        new="if True:",
        tests=(f"{_FORGED}an_outcome_that_redis_forgot_is_not_replaced[key-unconditional]",),
    ),
    Mutation(
        name="forged-figures-summed",
        path="fornada/jobs/summary.py",
        old="figures = fitting(outcome.figures, self.gives)",
        new="figures = outcome.figures",
        tests=(
            f"{_FIGURES}forged_predictions_of_no_such_output_are_left_out[conditional]",
            f"{_FIGURES}forged_predictions_of_no_such_output_are_left_out[unconditional]",
        ),
    ),
    Mutation(
        name="partial-cost-told",
        path="fornada/figures/shards.py",
        old="        cost = None\n",
        new="        cost = self.cost\n",
        tests=(f"{_FIGURES}a_cost_is_told_only_if_every_shard_has_one[conditional]",),
    ),
    Mutation(
        name="predictions-shown-without-scope",
        path="gateway/api/job_document.py",
        old="if figures is not None and not with_results:",
        new="if False:",
        tests=(f"{_GATEWAY_JOBS}what_was_predicted_is_for_keys_that_may_read_results",),
    ),
    Mutation(
        name="digest-not-verified",
        path="fornada/jobs/summary.py",
        old="if self.sha256 != final.outcomes_sha256:",
        new="if False:",
        tests=(
            f"{_JOB}outcomes_that_are_not_those_of_the_end_are_refused[data-complete]",
            f"{_JOB}outcomes_that_are_not_those_of_the_end_are_refused[gone-cancelled]",
        ),
    ),
    Mutation(
        name="last-shard-not-held-back",
        path="producer/job_reader.py",
        old=(
            "        if final is not None and number == count:\n"
            "            digest.check(final)\n"
            "        yield read"
        ),
        new=(
            "        yield read\n"
            "        if final is not None and number == count:\n"
            "            digest.check(final)"
        ),
        tests=(f"{_JOB}outcomes_that_are_not_those_of_the_end_are_refused[data-complete]",),
    ),
    Mutation(
        name="other-classes-accepted",
        path="worker/shards/job_check.py",
        old="return tensor.model_dump()\n    # Manifests",
        new="return {}\n    # Manifests",
        tests=(
            f"{_SERVICE}a_job_that_names_other_classes_than_its_model_fails[conditional-3-small]",
        ),
    ),
    # The end of a job.
    Mutation(
        name="end-overwrites",
        path="fornada/jobs/store.py",
        old="if self.objects.put_if_absent(key, final.to_json()):",
        new="self.objects.put(key, final.to_json())\n        if True:",
        tests=(f"{_SERVICE}two_ends_of_a_job_at_once_leave_the_first[conditional]",),
    ),
    Mutation(
        name="refused-end-not-read-back",
        path="fornada/jobs/store.py",
        old="return self.final(job_id) or final",
        new="return final",
        tests=(f"{_SERVICE}two_ends_of_a_job_at_once_leave_the_first[conditional]",),
    ),
    Mutation(
        name="end-not-decided-in-redis",
        path="fornada/jobs/store.py",
        old="if self._decisions is not None and not self.objects.conditional_writes:\n"
        "            # Every writer from now on writes the same.",
        new="if False:",
        tests=(
            f"{_SERVICE}two_ends_of_a_job_at_once_are_the_same_without_conditions[alike-unconditional]",
        ),
    ),
    Mutation(
        name="creation-not-decided-in-redis",
        path="fornada/jobs/store.py",
        old="manifest = first_created(manifest, decide=self._decisions.decide)",
        new="pass",
        tests=(
            "tests/unit/fornada/jobs/test_store.py::test_of_two_who_create_a_job_at_once_one_holds",
        ),
    ),
    Mutation(
        name="redis-decides-for-the-last",
        path="fornada/coordination/redis.py",
        old="self._redis.set(key, answer, nx=True, get=True, px=_DECIDED_MS)",
        new="self._redis.set(key, answer, px=_DECIDED_MS) and None",
        tests=(f"{_COORDINATION}of_two_answers_the_first_holds[redis]",),
    ),
    Mutation(
        name="end-before-the-last-outcome",
        path="fornada/jobs/store.py",
        old="if len(shards) < len(manifest.shards):",
        new="if not shards:",
        tests=(f"{_JOB_STORE}a_job_is_not_finished_before_its_last_outcome[memory]",),
    ),
    Mutation(
        name="end-does-not-list-the-dead",
        path="fornada/jobs/summary.py",
        old="dead_ranges=to_ranges(tally.dead),",
        new="dead_ranges=[],",
        tests=(
            f"{_JOB_STORE}the_end_has_counts_and_digest_over_the_outcomes[memory]",
            f"{_JOB}the_dead_say_why",
            _MACHINE,
        ),
    ),
    # What is told when.
    Mutation(
        name="acknowledged-before-the-commit",
        path="fornada/queue/celery_config.py",
        old='"task_acks_late": True,',
        new='"task_acks_late": False,',
        tests=(
            f"{_WORKER}a_message_is_acknowledged_after_its_outcome_is_committed_and_not_before",
        ),
    ),
    Mutation(
        name="marked-done-before-the-commit",
        path="worker/shards/commits.py",
        old="        committed = Committed(\n",
        new="        self.mark_done([Committed(attempt=attempt, outcome=stamped)])\n"
        "        committed = Committed(\n",
        tests=(
            f"{_SERVICE}a_store_that_fails_for_a_while_defers_without_counting[conditional-put_if_absent-/outcome/]",
        ),
    ),
    Mutation(
        name="exceptions-leave-the-task",
        path="worker/tasks.py",
        old='log.exception("shards left to the reconciler", job_id=messages[0].job_id)',
        new="raise",
        tests=("tests/unit/worker/test_tasks.py::test_no_exception_leaves_the_task",),
        raises="RuntimeError: who knows",
    ),
    # Attempts and leases.
    Mutation(
        name="attempts-counted-after-the-work",
        path="worker/shards/service.py",
        old="            return self._computation.run(attempt)\n",
        new="            self._leases.forget_attempt(attempt.run)\n"
        "            outcome = self._computation.run(attempt)\n"
        "            self._leases.begin([attempt.run], lease_s=self._lease_s)\n"
        "            return outcome\n",
        tests=(f"{_SERVICE}memory_errors_leave_run_so_that_the_process_ends[conditional]",),
    ),
    Mutation(
        name="attempts-not-limited",
        path="worker/shards/attempts.py",
        old="number=admission.attempts,",
        new="number=1,",
        tests=(f"{_SERVICE}a_shard_whose_workers_die_is_dead_in_the_end[conditional]",),
    ),
    Mutation(
        name="attempts-not-counted",
        path="fornada/coordination/lua/begin.lua",
        old="    redis.call('HSET', attempts, shard, ids)\n",
        new="",
        tests=(f"{_COORDINATION}attempts_are_counted[redis]",),
    ),
    Mutation(
        name="lease-ignored",
        path="fornada/coordination/lua/begin.lua",
        old="  if holder and holder ~= attempt then\n",
        new="  if false then\n",
        tests=(f"{_COORDINATION}a_shard_under_lease_is_not_begun_by_another[redis]",),
    ),
    Mutation(
        name="long-lease-believed",
        path="fornada/coordination/lua/clock.lua",
        old="lease_ms = math.min(lease_ms, most_ms)",
        new="lease_ms = tonumber(lease_ms)",
        tests=(f"{_COORDINATION}a_lease_for_longer_than_ones_own_holds_as_long_as_ones_own",),
    ),
    Mutation(
        name="lease-ignored-in-memory",
        path="fornada/coordination/counters.py",
        old="elif self._holder(shard, clocks, lease) not in {None, claim.attempt}:",
        new="elif False:",
        tests=(
            f"{_COORDINATION}a_shard_under_lease_is_not_begun_by_another[memory]",
            f"{_SERVICE}a_shard_that_another_worker_holds_is_left_to_it_while_it_shows_life[conditional]",
        ),
    ),
    # What others write into Redis.
    Mutation(
        name="value-of-another-type",
        path="fornada/coordination/lua/clock.lua",
        old="  if failure:find('WRONGTYPE') and key:find('^fornada:') then\n",
        new="  if false then\n",
        tests=(f"{_COORDINATION}what_has_another_type_in_redis_is_as_good_as_lost[counters]",),
        raises="fornada.errors.BrokerError",
    ),
    Mutation(
        name="any-count-of-shards",
        path="fornada/coordination/lua/triage.lua",
        old="shards and shards >= 1 and shards <= MOST_SMALL_SHARDS and shards % 1 == 0",
        new="shards and shards <= MOST_SMALL_SHARDS",
        tests=(f"{_REDIS_SMALL}a_job_whose_shards_cannot_be_counted_is_unclear",),
    ),
    Mutation(
        name="census-from-the-start",
        path="fornada/jobs/upkeep/census.py",
        old="        self._found = found\n",
        new="        self._found, found = {}, {}\n",
        tests=(f"{_CENSUS}a_census_that_the_store_breaks_off_goes_on_where_it_was",),
    ),
    # Clocks and queues.
    Mutation(
        name="lease-by-server-clock",
        path="fornada/coordination/lua/clock.lua",
        old="tonumber(redis.call('HGET', LEADER .. queue, 'clock_ms')) or 0",
        new="now_ms",
        tests=(f"{_COORDINATION}a_begun_shard_whose_lease_ran_out_is_lost[redis]",),
    ),
    Mutation(
        name="clock-step-uncapped",
        path="fornada/jobs/upkeep/leadership.py",
        old="step_s=min(unmoved_s, self._lease_s / 4),",
        new="step_s=unmoved_s,",
        tests=(
            f"{_RECONCILER}leases_run_out_as_the_leader_watches_and_not_by_redis_clock[conditional]",
        ),
    ),
    Mutation(
        name="leader-without-watching",
        path="fornada/jobs/upkeep/leadership.py",
        old="after=self._last if led or unmoved_s >= self._lead_s else None,",
        new="after=self._last,",
        tests=(
            f"{_RECONCILER}only_the_leader_enqueues_and_another_leads_once_it_shows_no_life[conditional]",
        ),
    ),
    Mutation(
        name="beat-of-another-overtaken",
        path="fornada/coordination/lua/beat.lua",
        old="if number and last ~= ARGV[3] then return",
        new="if number and ARGV[3] == '' then return",
        tests=(f"{_COORDINATION}who_knows_the_last_beat_leads[redis]",),
    ),
    Mutation(
        name="job-of-another-queue-taken",
        path="fornada/jobs/upkeep/reconciler.py",
        old="if job.manifest.queue_name != self._settings.queue:",
        new="if False:",
        tests=(
            f"{_RECONCILER}a_job_of_another_queue_is_left_alone_however_it_stands[conditional]",
            _MACHINE,
        ),
    ),
    Mutation(
        name="failed-attempt-runs",
        path="fornada/coordination/lua/end_attempt.lua",
        old="lease .. ' over'",
        new="lease",
        tests=(f"{_COORDINATION}a_shard_whose_attempt_failed_rests_and_does_not_run[redis]",),
    ),
    Mutation(
        name="shards-run-without-workers",
        path="fornada/coordination/lua/progress.lua",
        old="unseen_ms[queue] < lease_ms and not is_over",
        new="not is_over",
        tests=(f"{_COORDINATION}nothing_runs_where_nobody_leads",),
    ),
    Mutation(
        name="no-deadline-unless-given",
        path="fornada/jobs/manifest.py",
        old="if self.deadline is None and self.schema_version >= JOB_VERSION:",
        new="if False:",
        tests=(
            f"{_RECONCILER}a_job_of_a_queue_without_workers_is_whole_after_an_hour_and_over_after_a_week[conditional]",
        ),
    ),
    Mutation(
        name="end-compared-by-clocks",
        path="fornada/jobs/summary.py",
        old="if submission == manifest.created_at.isoformat().encode():",
        new="if end.ended_at >= manifest.created_at:",
        tests=(
            f"{_SERVICE}two_ends_of_a_job_at_once_are_the_same_without_conditions[ahead-unconditional]",
        ),
    ),
    Mutation(
        name="purge-by-own-clock",
        path="producer/upkeep/retention.py",
        old="    at = jobs.objects.server_time()\n",
        new="    from fornada.records import now\n\n    at = now()\n",
        tests=(f"{_UPKEEP}a_purge_goes_by_the_stores_clock_alone",),
    ),
    Mutation(
        name="input-not-checked",
        path="fornada/storage/checked_reads.py",
        old="if ref.sha256 is not None and sha256() != ref.sha256:",
        new="if False:",
        tests=(
            f"{_SERVICE}a_changed_input_is_dead_at_once[conditional-<lambda>1]",
            f"{_JOB_STORE}data_is_read_back_and_a_change_is_noticed[memory]",
        ),
    ),
    Mutation(
        name="file-read-alone-not-checked",
        path="fornada/jobs/shard_files.py",
        old="sha256=s.sha256) for s in wanted]",
        new="sha256=None) for s in wanted]",
        tests=(f"{_SHARD_FILES}a_few_selected_files_are_read_alone_and_checked",),
    ),
    Mutation(
        name="range-reads-from-the-beginning",
        path="fornada/storage/checked_reads.py",
        old="first_byte=ref.first_byte,",
        new="first_byte=0,",
        tests=(f"{_SHARD_FILES}ranges_of_archives_of_others_are_checked_by_their_etag",),
    ),
    # Messages, and the work that is left.
    Mutation(
        name="lost-trip-not-repeated",
        path="fornada/queue/celery_queue.py",
        old="            client.lpush(queue, *envelopes)",
        new="            try:\n                client.lpush(queue, *envelopes)\n"
        "            except Exception:\n                return",
        tests=(f"{_CELERY_QUEUE}messages_go_many_in_a_round_trip_and_again_if_its_answer_is_lost",),
    ),
    Mutation(
        name="running-shards-are-no-work",
        path="producer/upkeep/backlog.py",
        old="return self.waiting + self.queued + self.reserved + self.running",
        new="return self.waiting + self.queued + self.reserved",
        tests=(f"{_BACKLOG}running_shards_and_waiting_calls_count_as_work_of_their_queue",),
    ),
    Mutation(
        name="waiting-calls-are-no-work",
        path="producer/upkeep/backlog.py",
        old="return self.total.shards + self.calls",
        new="return self.total.shards",
        tests=(f"{_BACKLOG}running_shards_and_waiting_calls_count_as_work_of_their_queue",),
    ),
    # The reconciler.
    Mutation(
        name="ended-jobs-enqueued",
        path="fornada/coordination/lua/mark_enqueued.lua",
        old="if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end",
        new="",
        tests=(f"{_COORDINATION}nothing_of_a_job_that_has_ended_is_enqueued[redis]",),
    ),
    Mutation(
        name="full-blocks-never-listed-again",
        path="fornada/jobs/upkeep/looks.py",
        old="job.stored = done if len(done) < count else set()",
        new="job.stored = done",
        tests=(
            f"{_LOOKS}an_outcome_that_is_gone_when_its_job_is_to_end_is_missed_by_the_next_look",
        ),
    ),
    Mutation(
        name="reconciler-enqueues-nothing",
        path="fornada/jobs/upkeep/reconciler.py",
        old="            for shard in shards:\n                yield message_for(",
        new="            for shard in shards[:0]:\n                yield message_for(",
        tests=(
            f"{_RECONCILER}shards_that_were_never_enqueued_are_enqueued_once[conditional]",
            _MACHINE,
        ),
    ),
    Mutation(
        name="reconciler-not-started",
        path="worker/process.py",
        old="    reconciler.start()\n",
        new="",
        tests=(f"{_WORKER}a_job_whose_messages_were_all_lost_is_done_by_one_worker_alone",),
    ),
    Mutation(
        name="window-ignored",
        path="fornada/jobs/upkeep/reconciler.py",
        old="room = max(0, self._settings.enqueue_window - queued)",
        new="room = 1_000_000",
        tests=(
            f"{_RECONCILER}no_more_are_enqueued_than_the_window_has_room_for[conditional]",
            f"{_RECONCILER}the_window_counts_what_others_have_queued[conditional]",
        ),
    ),
    Mutation(
        name="window-ignored-by-producers",
        path="producer/submitting/creation.py",
        old="first = shards[: max(0, self.settings.enqueue_window - queued)]",
        new="first = shards",
        tests=(f"{_CLIENT}no_more_messages_are_enqueued_than_the_window_has_room_for",),
    ),
    Mutation(
        name="done-not-restored-after-a-flush",
        path="fornada/jobs/upkeep/looks.py",
        old="        self._recovery.restore_done(job_id, done)\n",
        new="",
        tests=(
            f"{_RECONCILER}open_jobs_and_what_is_done_are_found_again_after_redis_was_wiped[conditional]",
        ),
    ),
    Mutation(
        name="cancel-request-ignored",
        path="fornada/jobs/upkeep/looks.py",
        old="request = self._jobs.cancel_request(manifest.job_id)",
        new="request = None",
        tests=(f"{_RECONCILER}an_interrupted_cancel_is_finished_with_its_reason[conditional]",),
    ),
    Mutation(
        name="late-producer-counts-anew",
        path="fornada/coordination/lua/open_new.lua",
        old="if now_ms - since_ms < tonumber(ARGV[2]) then return end\n",
        new="",
        tests=(
            f"{_COORDINATION}another_producer_of_the_same_new_job_makes_nothing_forgotten[redis]",
        ),
    ),
    # Small jobs.
    Mutation(
        name="carried-manifest-not-verified",
        path="fornada/jobs/ids.py",
        old='_digest(text.removeprefix(head)) != form["digest"]',
        new="False",
        tests=(
            f"{_CONTENT_IDS}content_that_was_changed_under_the_same_id_is_not_taken",
            f"{_SMALL}a_forged_manifest_is_not_what_is_computed[conditional]",
        ),
    ),
    Mutation(
        name="second-job-id-not-checked",
        path="fornada/jobs/ids.py",
        old="return manifest if manifest.job_id == message.job_id else None",
        new="return manifest",
        tests=(f"{_CONTENT_IDS}a_second_job_id_further_on_does_not_make_it_anothers",),
    ),
    Mutation(
        name="carried-manifest-of-no-job",
        path="worker/shards/attempts.py",
        old="if not admission.counted:",
        new="if False:",
        tests=(
            f"{_SMALL}a_carried_manifest_is_trusted_only_for_a_job_that_redis_knows[conditional]",
            f"{_SMALL}a_message_of_a_purged_job_brings_nothing_back[conditional]",
        ),
    ),
    Mutation(
        name="alone-though-begun-before",
        path="fornada/coordination/interface.py",
        old='return self.status == "begun" and self.attempts == 1 and self.counted',
        new='return self.status == "begun"',
        tests=(f"{_REDIS_SMALL}a_second_attempt_is_not_the_first[redis]",),
    ),
    Mutation(
        name="alone-though-the-lease-ran-out",
        path="worker/shards/phases.py",
        old="return time.monotonic() < self.sole_writer_until_s",
        new="return self.sole_writer_until_s > 0",
        tests=(f"{_SMALL}an_attempt_whose_lease_ran_out_looks_before_it_commits[unconditional]",),
    ),
    Mutation(
        name="small-end-not-decided",
        path="fornada/jobs/store.py",
        old="answers = self._decisions.decide_ends(proposed, only_counted=True)",
        new="answers = proposed",
        tests=(
            f"{_SMALL}an_end_that_was_decided_before_is_the_one_that_is_written[unconditional]",
        ),
    ),
    Mutation(
        name="small-end-overwrites",
        path="fornada/jobs/store.py",
        old="if self._put_new(key, text, is_new=True):",
        new="self.objects.put(key, text)\n        if True:",
        tests=(f"{_SMALL}a_cancel_that_comes_first_stands[conditional]",),
    ),
    Mutation(
        name="small-jobs-written-before-they-are-listed",
        path="producer/submitting/creation.py",
        old="        has_room = self.coordination.register_small_jobs(",
        new="        self._write(jobs)\n        has_room = self.coordination.register_small_jobs(",
        tests=(f"{_SUBMITTED}without_a_broker_none_of_many_is_submitted",),
    ),
    Mutation(
        name="lost-small-jobs-not-seen",
        path="fornada/coordination/counters.py",
        old="return lost if left else None",
        new="return [] if left else None",
        tests=(
            f"{_SMALL_RECONCILED}a_small_job_whose_message_was_lost_is_enqueued_whole[conditional]",
            _MACHINE,
        ),
    ),
    Mutation(
        name="lost-small-jobs-not-seen-by-redis",
        path="fornada/coordination/lua/triage.lua",
        old="return since_ms and since_ms >= oldest_ms",
        new="return since_ms",
        tests=(f"{_REDIS_SMALL}shards_whose_lease_or_message_ran_out_are_lost[redis]",),
    ),
    Mutation(
        name="redis-decides-small-ends-for-the-last",
        path="fornada/coordination/lua/decide_ends.lua",
        old="if type(first[i]) ~= 'string' then",
        new="if true then",
        tests=(f"{_REDIS_SMALL}several_ends_are_decided_at_once[redis]",),
    ),
    Mutation(
        name="small-end-decided-of-a-forgotten-job",
        path="fornada/coordination/lua/decide_ends.lua",
        old=" or redis.call('HEXISTS', job, 'counted') == 0",
        new="",
        tests=(f"{_REDIS_SMALL}no_end_is_decided_of_a_job_that_ended_or_was_forgotten[redis]",),
    ),
    Mutation(
        name="bundled-though-begun-before",
        path="worker/shards/service.py",
        old="fit = all(attempt.number == 1 and attempt.manifest.is_small for attempt in attempts)",
        new="fit = all(attempt.manifest.is_small for attempt in attempts)",
        tests=(f"{_SMALL}a_shard_begun_before_is_not_bundled[conditional]",),
    ),
    Mutation(
        name="cancelled-small-jobs-not-looked-at",
        path="fornada/jobs/upkeep/reconciler.py",
        old="return {job_id for job_id, may_be in asked if may_be}",
        new="return {job_id for job_id, may_be in asked if may_be and False}",
        tests=(f"{_SMALL_RECONCILED}a_request_to_cancel_a_small_job_is_seen[conditional]",),
    ),
    Mutation(
        name="rows-on-their-way-not-waited-for",
        path="worker/compute/batcher.py",
        old="elif not self._expecting or oldest",
        new="elif self._expecting is not None or oldest",
        tests=(
            "tests/unit/worker/compute/test_batcher.py::test_a_partial_tile_waits_for_rows_on_their_way",
        ),
    ),
    Mutation(
        name="errors-in-the-answer-to-another-call",
        path="fornada/jobs/items.py",
        old="for error in self.errors[begin:end]",
        new="for error in self.errors[begin:]",
        tests=(
            "tests/unit/worker/calls/test_answers.py::test_calls_answered_together_get_what_each_gets_alone",
        ),
    ),
    Mutation(
        name="answered-call-left-for-others-to-answer",
        path="producer/calls/predict_calls.py",
        old="call = self._take_waiting(call_id)",
        new="call = self._waiting.get(call_id)",
        tests=(f"{_PREDICT}a_lost_reply_that_meets_the_answer_leaves_later_calls_working",),
    ),
    # Items.
    Mutation(
        name="call-not-halved",
        path="worker/compute/halving.py",
        old="        if count == 1:\n",
        new="        if count <= 2:\n",
        tests=(f"{_SERVICE}items_that_the_model_fails_on_fail_alone[conditional]",),
    ),
    Mutation(
        name="outputs-not-checked",
        path="fornada/jobs/items.py",
        old="bad = {**_non_finite(outputs, gives), **bad}",
        new="bad = dict(bad)",
        tests=(f"{_SERVICE}nan_and_infinity_in_the_outputs_fail_their_items[conditional]",),
    ),
    Mutation(
        name="lost-device-does-not-count",
        path="worker/shards/steps.py",
        old="counted=isinstance(exc, DeviceLostError)",
        new="counted=False",
        tests=(f"{_SERVICE}a_device_lost_over_a_shard_counts_an_attempt[conditional]",),
    ),
    Mutation(
        name="halved-call-mixes-sizes",
        path="worker/compute/tile_queue.py",
        old="            if request.taken:\n",
        new="            if request.taken > len(request.rows):\n",
        tests=(f"{_DEVICE}some_rows_are_computed_begins_again_when_another_call_is_halved",),
    ),
    Mutation(
        name="end-ignores-max-failed",
        path="fornada/jobs/summary.py",
        old="if most is not None and tally.items_failed > most:",
        new="if most is not None and tally.items_failed > 2 * most + 99:",
        tests=(
            "tests/unit/fornada/jobs/test_summary.py::test_the_failed_items_decide_the_end[2-failed10-FAILED]",
        ),
    ),
    Mutation(
        name="old-jobs-end-by-the-new-rule",
        path="fornada/jobs/summary.py",
        old="    if manifest.schema_version < JOB_VERSION:\n",
        new="    if manifest.schema_version < 0:\n",
        tests=(
            "tests/unit/worker/test_old_stores.py::test_open_jobs_are_resumed_and_end_by_the_old_rule[conditional]",
        ),
        raises="ValidationError",
    ),
    # Tables.
    Mutation(
        name="pages-of-a-table-believed",
        path="fornada/formats/tables/parquet.py",
        old="if claims.size_bytes > most_bytes or dictionary_count > most_bytes:",
        new="if claims.size_bytes < 0:",
        tests=(
            f"{_TABLES}pages_that_claim_more_than_the_footer_are_refused_before_memory_is_taken",
        ),
    ),
    Mutation(
        name="bad-rows-count-from-their-batch",
        path="fornada/jobs/table_items.py",
        old="errors |= {row_count + row: why for row, why in found.errors.items()}",
        new="errors |= found.errors",
        tests=(f"{_TABLES}a_bad_row_of_a_later_batch_fails_alone",),
    ),
    Mutation(
        name="parts-of-a-row-group-begin-alike",
        path="producer/inputs/tables/stored.py",
        old="first_row=first_row or None,",
        new="first_row=None,",
        tests=(f"{_STORED_TABLES}a_row_group_that_is_too_large_is_cut_by_its_rows_or_outputs",),
    ),
    # Photographs.
    Mutation(
        name="files-of-an-archive-not-counted",
        path="fornada/jobs/shard_files.py",
        old="if file_count < wanted or (shard.selected is None and file_count > wanted):",
        new="if file_count < wanted:",
        tests=(f"{_FILES}an_archive_with_other_files_than_the_job_says_is_the_inputs_fault",),
    ),
    Mutation(
        name="file-beyond-the-archive",
        path="fornada/formats/tar.py",
        old="if span.end_byte > archive_bytes:",
        new="if span.first_byte > archive_bytes:",
        tests=(
            f"{_TAR}an_index_names_files_within_the_archive_alone",
            f"{_ARCHIVES}an_index_names_what_is_in_the_archive_or_is_refused",
        ),
    ),
    Mutation(
        name="offsets-count-from-the-archive",
        path="producer/submitting/stored/sharding.py",
        old="Span(member.span.first_byte - first_byte, size_bytes)",
        new="Span(member.span.first_byte, size_bytes)",
        tests=(
            f"{_STORED}a_stored_archive_becomes_ranges_of_itself_and_nothing_is_copied",
            _MACHINE,
        ),
        raises="fornada.errors.IntegrityError",
    ),
    Mutation(
        name="first-files-in-place-of-the-selected",
        path="fornada/jobs/shard_files.py",
        old="[spans[position] for position in _checked_positions(shard, len(spans))]",
        new="spans[: len(_checked_positions(shard, len(spans)))]",
        tests=(f"{_FILES}selected_files_are_those_that_are_read_however_few_there_are[False]",),
    ),
    Mutation(
        name="first-files-read-alone",
        path="fornada/jobs/shard_files.py",
        old="wanted = [spans[position] for position in shard.positions]",
        new="wanted = spans[: shard.item_count]",
        tests=(f"{_FILES}a_few_selected_files_are_read_alone_and_checked",),
    ),
    Mutation(
        name="single-files-not-checked",
        path="fornada/jobs/shard_files.py",
        old="parts = [archive.part(s.first_byte, s.size_bytes, sha256=s.sha256) for s in wanted]",
        new="parts = [archive.part(s.first_byte, s.size_bytes) for s in wanted]",
        tests=(f"{_FILES}a_few_selected_files_are_read_alone_and_checked",),
    ),
    Mutation(
        name="ranges-of-others-not-checked",
        path="fornada/records.py",
        old='return self.model_copy(update={**own, "sha256": sha256})',
        new='return self.model_copy(update={**own, "sha256": sha256, "etag": None})',
        tests=(f"{_STORED}a_stored_archive_becomes_ranges_of_itself_and_nothing_is_copied",),
    ),
    Mutation(
        name="index-without-digest",
        path="producer/submitting/upload.py",
        old="        return ObjectRef.of(key, data, sha256=sha256)\n\n    def _key",
        new="        ref = ObjectRef.of(key, data, sha256=sha256)\n"
        '        return ref.model_copy(update={"sha256": None}) if part == "index" else ref\n\n'
        "    def _key",
        tests=(f"{_FILES}an_index_that_has_changed_is_found",),
    ),
    Mutation(
        name="undecodable-files-are-black",
        path="fornada/jobs/shard_files.py",
        old="            except InputError as exc:\n                return _Found(str(exc))\n",
        new="            except InputError:\n                return _Found(None)\n",
        tests=(f"{_FILES}files_of_an_archive_are_its_items_in_order[False]", _MACHINE),
    ),
    Mutation(
        name="blocks-number-their-failed-photographs-from-0",
        path="worker/shards/blocks.py",
        old="ItemError(index=first + error.index, reason=error.reason)",
        new="error",
        tests=(
            f"{_BLOCKS}blocks_give_what_the_whole_shard_gives_and_a_broken_photograph_fails_alone",
        ),
    ),
    Mutation(
        name="all-blocks-decoded-at-once",
        path="fornada/jobs/shard_files.py",
        old="if len(begun) > _BLOCKS_AHEAD:",
        new="if len(begun) > len(self.contents):",
        tests=(f"{_BLOCKS}a_few_blocks_are_in_memory_however_slow_the_model_is",),
    ),
    Mutation(
        name="decoders-take-any-memory",
        path="fornada/formats/images/decoder_pool.py",
        old="self._taken_bytes += needed_bytes",
        new="self._taken_bytes += 0",
        tests=(f"{_POOL}an_image_waits_until_there_is_memory_for_it[1]",),
    ),
    Mutation(
        name="unread-files-decoded",
        path="fornada/jobs/shard_files.py",
        old="contents=[unreadable.get(n, content) for n, content in enumerate(contents)],",
        new="contents=list(contents),",
        tests=(f"{_FILES}files_that_the_submitter_could_not_read_are_not_decoded",),
    ),
    Mutation(
        name="truncated-photographs-taken",
        path="fornada/formats/images/like_tensorflow/jpeg.py",
        old="decode_jpeg(data, colorspace, fastdct=True)\n",
        new="decode_jpeg(data, colorspace, fastdct=True, strict=False)\n",
        tests=(
            f"{_ITEMS_OF_IMAGES}every_photograph_becomes_an_item_and_every_broken_file_an_error",
        ),
    ),
    Mutation(
        name="orientation-not-asked-for-turned",
        path="fornada/formats/images/like_tensorflow/pixels.py",
        old="    if not exif:\n",
        new="    if kind is None:\n",
        tests=(f"{_ITEMS_OF_IMAGES}without_a_preset_the_image_is_stretched_and_not_turned",),
    ),
    Mutation(
        name="asked-for-orientation-not-turned",
        path="fornada/formats/images/like_tensorflow/pixels.py",
        old="    if not exif:\n",
        new="    if kind:\n",
        tests=(
            f"{_ITEMS_OF_IMAGES}a_photograph_is_turned_by_every_loader_where_the_model_says_so",
        ),
    ),
    Mutation(
        name="orientations-not-counted",
        path="fornada/jobs/shard_files.py",
        old="ignores = not turned and has_ignored_orientation(data)",
        new="ignores = False",
        tests=(f"{_FILES}orientations_are_counted_where_they_are_ignored",),
    ),
    Mutation(
        name="rows-of-open-sizes-follow-from-the-tile-alone",
        path="model_store/engines/open_sizes.py",
        old="return min(OPEN_TILE_ITEMS, 1 << max(0, fitting.bit_length() - 1))",
        new="return OPEN_TILE_ITEMS",
        tests=(f"{_PREDICTOR}the_rows_of_a_call_follow_from_the_shape_where_it_is_open",),
    ),
    Mutation(
        name="threshold-ignored",
        path="fornada/tensors.py",
        old="return 0.5 if self.threshold is None else self.threshold",
        new="return 0.5",
        tests=(
            f"{_RESULTS}of_several_classes_all_from_the_threshold_on_apply",
            f"{_RESULTS}of_two_classes_the_second_begins_at_the_threshold[shape0]",
        ),
    ),
    Mutation(
        name="binary-has-the-likeliest-class",
        path="producer/item_results.py",
        old='        if self.output.kind == "binary":\n            return',
        new='        if self.output.kind == "embedding":\n            return',
        tests=(f"{_RESULTS}of_two_classes_the_second_begins_at_the_threshold[shape0]",),
    ),
    Mutation(
        name="large-results-read-ahead",
        path="fornada/parallel.py",
        old="while ahead and (held_bytes + size > most_bytes or",
        new="while ahead and (",
        tests=(
            (
                "tests/unit/fornada/jobs/test_store.py::"
                "test_results_are_read_ahead_up_to_so_many_bytes_and_larger_ones_alone"
            ),
        ),
    ),
    Mutation(
        name="failed-whole-numbers-exported-as-zeros",
        path="producer/exporting/kinds.py",
        old="return Cells(values, None if has_nan or ok.all() else ~ok)",
        new="return Cells(values, None)",
        tests=(
            (
                "tests/unit/producer/exporting/test_exporting.py::"
                "test_columns_of_several_outputs_begin_with_their_names"
            ),
        ),
    ),
    Mutation(
        name="offsets-of-later-shards-not-shifted",
        path="producer/exporting/spools.py",
        old="array = array[1:] + self._ends[name]",
        new="array = array[1:]",
        tests=(
            (
                "tests/unit/producer/exporting/test_any_signature.py::"
                "test_outputs_of_any_signature_come_back"
            ),
        ),
    ),
    Mutation(
        name="retry-of-the-unread",
        path="producer/upkeep/retry.py",
        old="        return sorted(errors - unread)\n",
        new="        return sorted(errors)\n",
        tests=(f"{_UPKEEP}a_retry_holds_the_failed_items_alone_with_their_ids_and_numbers",),
    ),
    # What a job may read.
    Mutation(
        name="foreign-prefix-read",
        path="fornada/jobs/job_inputs.py",
        old="        if ref.inline is None and not self._allow(manifest, ref):",
        new="        if not self._allow(manifest, ref) and key_flaw(ref.key):",
        tests=(
            f"{_JOB_INPUTS}a_job_reads_its_own_objects_and_the_prefixes_alone",
            f"{_JOB_INPUTS}without_prefixes_a_job_reads_its_own_objects_alone",
        ),
    ),
    Mutation(
        name="prefix-without-its-slash",
        path="fornada/trust/input_prefixes.py",
        old="        return key == self.key or key.startswith(self.folder)",
        new="        return key.startswith(self.key)",
        tests=(
            f"{_PREFIXES}a_prefix_ends_at_a_slash_whether_it_is_given_or_not",
            f"{_PREFIXES}what_is_allowed_lies_below_the_prefix_byte_by_byte",
        ),
    ),
    Mutation(
        name="own-models-read",
        path="fornada/trust/input_prefixes.py",
        old='removeprefix("/").startswith(keys.OWN_PREFIXES)',
        new='removeprefix("/").startswith(keys.JOBS_PREFIX)',
        tests=(
            f"{_PREFIXES}no_prefix_opens_what_fornada_itself_writes",
            f"{_JOB_INPUTS}a_job_reads_its_own_objects_and_the_prefixes_alone",
        ),
    ),
    Mutation(
        name="source-job-not-checked",
        path="fornada/jobs/job_inputs.py",
        old="            ref.key.startswith(keys.JobKeys(source).input_prefixes)",
        new="            ref.key.startswith(keys.JOBS_PREFIX)",
        tests=(
            f"{_JOB_INPUTS}a_retry_reads_the_inputs_of_the_first_job_and_nothing_else_of_it",
            f"{_JOB_INPUTS}a_retry_reads_nothing_of_a_job_that_is_gone_or_of_another_owner",
        ),
    ),
    Mutation(
        name="source-owner-ignored",
        path="fornada/jobs/job_inputs.py",
        old="            if found.owner not in {None, manifest.owner}:",
        new="            if found.owner == '':",
        tests=(f"{_JOB_INPUTS}a_retry_reads_nothing_of_a_job_that_is_gone_or_of_another_owner",),
    ),
    Mutation(
        name="uploads-of-other-owners-read",
        path="fornada/jobs/job_inputs.py",
        old="return upload.owner == manifest.owner and ref.key.startswith(upload.parts)",
        new="return ref.key.startswith(upload.parts)",
        tests=(f"{_JOB_INPUTS}a_job_reads_the_uploads_of_its_owner_alone",),
    ),
    Mutation(
        name="objects-of-a-table-read-beyond-the-keys-prefixes",
        path="producer/inputs/tables/stored.py",
        old="if prefixes is not None and not prefixes.allow(address.prefix, address.bucket):",
        new="if False:",
        tests=(f"{_GATEWAY_INPUTS}rows_and_lists_in_the_store_are_items",),
    ),
    Mutation(
        name="files-of-the-gateway-read-by-a-table",
        path="producer/submitting/preparation.py",
        old="tables_name_files=options.prefixes is None,",
        new="tables_name_files=True,",
        tests=(f"{_GATEWAY_INPUTS}a_table_in_a_form_reads_no_file_of_the_gateway",),
    ),
    Mutation(
        name="form-that-broke-off-submitted",
        path="gateway/http/forms.py",
        old="if not reader.has_ended:",
        new="if False:",
        tests=(f"{_GATEWAY_INPUTS}a_form_that_breaks_off_makes_no_job",),
    ),
    Mutation(
        name="damaged-answer-ended-as-whole",
        path="gateway/http/streams.py",
        old="error=str(exc))  # noqa: TRY400\n            return\n",
        new="error=str(exc))  # noqa: TRY400\n",
        tests=(f"{_GATEWAY_RESULTS}what_is_damaged_is_no_whole_answer[16000]",),
        raises="Failed",
    ),
    Mutation(
        name="other-owners-jobs-shown",
        path="gateway/auth/principal.py",
        old="return self.is_admin or (own and seen)",
        new="return True",
        tests=(f"{_GATEWAY_JOBS}another_owner_does_not_learn_of_a_job",),
    ),
    Mutation(
        name="first-job-purged",
        path="producer/upkeep/retention.py",
        old="                in_use.update(jobs.inputs.sources(jobs.manifest(job_id)))",
        new="                in_use.update([job_id.removesuffix('-retry')])",
        tests=(f"{_UPKEEP}the_first_job_stays_as_long_as_a_retry_of_its_retry",),
    ),
    # What others wrote.
    Mutation(
        name="markup-interpreted",
        path="fornada/commands/output.py",
        old="return [Text(printable(str(cell))) for cell in row]",
        new="return [Text.from_markup(printable(str(cell))) for cell in row]",
        tests=(f"{_KINDS_SHOWN}tags_and_reasons_are_shown_as_they_are",),
        raises="rich.errors.MarkupError",
    ),
    Mutation(
        name="control-characters-printed",
        path="fornada/trust/printable.py",
        old="return _UNPRINTABLE.sub(_escape, text)",
        new="return text",
        tests=(
            f"{_KINDS_SHOWN}tags_and_reasons_are_shown_as_they_are",
            f"{_OUTPUT}nothing_that_others_wrote_reaches_a_terminal_as_more_than_text",
        ),
    ),
    Mutation(
        name="memory-error-swallowed",
        path="fornada/formats/images/opening.py",
        old="    except MemoryError:\n        raise\n    except Exception as exc:\n",
        new="    except Exception as exc:\n",
        tests=(
            f"{_ITEMS_OF_IMAGES}too_little_memory_is_no_fault_of_the_file",
            "tests/test_architecture.py::test_no_handler_of_everything_swallows_a_memory_error",
        ),
        raises="fornada.errors.InputError",
    ),
    # What lies on the queue, and what stands in logs.
    Mutation(
        name="guard-lets-junk-through",
        path="fornada/queue/guard.py",
        old='        if command_name != "BRPOP":\n            return read()\n',
        new="        if True:\n            return read()\n",
        tests=(f"{_GUARD}messages_come_through_whatever_lies_between_them",),
        raises="json.decoder.JSONDecodeError",
    ),
    Mutation(
        name="guard-lets-compression-through",
        path="fornada/queue/envelope.py",
        old="    compression: None = None\n",
        new="",
        tests=(f"{_QUEUE}anything_else_is_refused_with_a_reason_that_shows_no_value",),
    ),
    Mutation(
        name="guard-lets-later-messages-through",
        path="fornada/queue/envelope.py",
        old="    eta: None = None\n",
        new="",
        tests=(f"{_QUEUE}anything_else_is_refused_with_a_reason_that_shows_no_value",),
    ),
    Mutation(
        name="guard-lets-chains-through",
        path="fornada/queue/envelope.py",
        old='    EmbeddedTasks.from_plain(embedded, where="the body\'s third part")\n',
        new="",
        tests=(f"{_QUEUE}anything_else_is_refused_with_a_reason_that_shows_no_value",),
    ),
    Mutation(
        name="guard-lets-any-size-through",
        path="fornada/queue/envelope.py",
        old="    if len(raw) > most_bytes:\n",
        new="    if len(raw) > 100 * most_bytes:\n",
        tests=(f"{_QUEUE}an_element_beyond_the_size_is_not_parsed",),
    ),
    Mutation(
        name="large-elements-read-whole",
        path="fornada/queue/guard.py",
        old="(super()._told_when_cut(connection_class), most_bytes=MAX_ENVELOPE_BYTES)",
        new="(super()._told_when_cut(connection_class), most_bytes=100 * MAX_ENVELOPE_BYTES)",
        tests=(f"{_GUARD}of_an_element_that_is_too_large_the_beginning_is_held",),
    ),
    Mutation(
        name="guard-passes-envelopes-on",
        path="fornada/queue/guard.py",
        old=(
            "            return new_envelope(messages, queue=self._queue, "
            "traceparent=traceparent)\n"
        ),
        new="            return raw\n",
        tests=(f"{_GUARD}nothing_of_a_strangers_envelope_reaches_celery",),
    ),
    Mutation(
        name="guard-lets-restored-junk-through",
        path="fornada/queue/guard.py",
        old="    def restore_by_tag(self,",
        new="    def restored_by_tag(self,",
        tests=(f"{_GUARD}taken_messages_return_to_their_queue_and_what_is_none_to_the_quarantine",),
        raises="redis.exceptions.DataError",
    ),
    Mutation(
        name="junk-is-not-counted",
        path="fornada/queue/guard.py",
        old="        self._on_message()\n",
        new="",
        tests=(f"{_GUARD}messages_come_through_whatever_lies_between_them",),
    ),
    Mutation(
        name="quarantine-not-bounded",
        path="fornada/queue/quarantine.py",
        old="            pipe.ltrim(self._key, 0, MAX_ENTRIES - 1)\n",
        new="",
        tests=(f"{_GUARD}the_quarantine_is_bounded_and_tells_who_wrote",),
    ),
    Mutation(
        name="celerys-own-tasks-registered",
        path="worker/tasks.py",
        old="        app.tasks.unregister(name)\n",
        new="        app.tasks[name].ignore_result = True\n",
        tests=("tests/unit/worker/test_tasks.py::test_the_worker_has_no_task_but_ours",),
    ),
    Mutation(
        name="libraries-log-at-debug",
        path="fornada/logs/__init__.py",
        old="    logging.root.setLevel(max(logging.INFO, logging.getLevelNamesMapping()[level]))\n",
        new="    logging.root.setLevel(level)\n",
        tests=(f"{_LOGS}at_debug_our_own_code_tells_more_and_libraries_do_not",),
    ),
    Mutation(
        name="celery-sets-up-logging",
        path="worker/app.py",
        old="    signals.setup_logging.connect(_logging_is_set_up, weak=False)\n",
        new="",
        tests=(f"{_WORKER}junk_of_every_kind_goes_to_the_quarantine_and_the_next_job_runs",),
    ),
    Mutation(
        name="arguments-shown",
        path="fornada/queue/envelope.py",
        old='                "argsrepr": ARGUMENTS_SHOWN,\n',
        new='                "argsrepr": "",\n',
        tests=(f"{_GUARD}nothing_of_a_strangers_envelope_reaches_celery",),
    ),
    Mutation(
        name="celery-tells-of-every-message",
        path="fornada/logs/__init__.py",
        old="        logging.getLogger(name).setLevel(logging.WARNING)\n",
        new="        logging.getLogger(name).setLevel(logging.INFO)\n",
        tests=(f"{_LOGS}at_debug_our_own_code_tells_more_and_libraries_do_not",),
    ),
    Mutation(
        name="errors-quote-data",
        path="fornada/logs/__init__.py",
        old="    return type(exc).__name__\n",
        new="    return str(exc)\n",
        tests=(f"{_LOGS}off_a_terminal_each_line_is_one_json_object",),
    ),
    Mutation(
        name="same-line-written-again",
        path="fornada/logs/once.py",
        old="                known.left_out += 1\n                return False\n",
        new="                known.left_out += 1\n",
        tests=(
            f"{_LOGS}lines_say_whose_they_are_and_the_same_one_is_written_once",
            f"{_LOGS}a_line_that_comes_again_says_how_many_were_left_out",
        ),
    ),
    Mutation(
        name="lines-of-a-pool-are-nobodys",
        path="fornada/parallel.py",
        old="    return lambda wanted: context.copy().run(work, wanted)\n",
        new="    return work\n",
        tests=(f"{_LOGS}lines_say_whose_they_are_and_the_same_one_is_written_once",),
        raises="KeyError",
    ),
    # Traces.
    Mutation(
        name="spans-quote-data",
        path="fornada/tracing/otel.py",
        old="            record_exception=False,\n",
        new="",
        tests=(f"{_SPANS}no_span_quotes_data[conditional]",),
    ),
    Mutation(
        name="shards-not-linked",
        path="worker/shards/spans.py",
        old="                links=links,\n                is_root=True,\n",
        new="                is_root=True,\n",
        tests=(
            f"{_SPANS}a_shard_is_linked_to_its_submission_and_has_its_stages_below[conditional]",
        ),
    ),
    Mutation(
        name="any-traceparent-goes-on",
        path="fornada/queue/envelope.py",
        old="checked_traceparent(envelope.headers.traceparent)",
        new="envelope.headers.traceparent",
        tests=(f"{_QUEUE}a_traceparent_goes_on_and_what_is_none_is_left_out",),
    ),
    Mutation(
        name="later-shards-not-linked",
        path="fornada/jobs/upkeep/reconciler.py",
        old="self._fairly(paced, room=room), traces=traces",
        new="self._fairly(paced, room=room)",
        tests=(f"{_SPANS}what_is_enqueued_later_is_linked_as_well[conditional]",),
    ),
    # Models.
    Mutation(
        name="verdict-not-verified",
        path="model_store/wall/verdict.py",
        old="return verdict if verdict.is_valid(manifest, self._keys) else None",
        new="return verdict",
        tests=(
            f"{_FIRST_LOAD}no_other_verdict_is_believed[a key of others]",
            f"{_FIRST_LOAD}the_verdict_on_one_golden_batch_is_none_on_another",
        ),
    ),
    Mutation(
        name="wall-without-limit",
        path="model_store/wall/limits.py",
        old="        resource.setrlimit(kind, (own, own))\n",
        new="",
        tests=(f"{_WALL}a_model_may_not_take_more_memory_than_the_limit",),
    ),
    Mutation(
        name="wall-without-end",
        path="fornada/child_process.py",
        old="        timer.start()\n",
        new="",
        tests=(f"{_WALL}a_model_may_not_take_more_time_than_the_limit",),
        raises="Failed: Timeout",
    ),
    Mutation(
        name="wall-skipped",
        path="worker/compute/model_cache.py",
        old="            most_items = self._first_load(manifest, artifact)\n",
        new="            most_items = None\n",
        tests=(f"{_CACHE}no_model_is_built_before_its_first_load_was_allowed[conditional]",),
    ),
    Mutation(
        name="call-over-memory",
        path="worker/compute/first_load.py",
        old="if call.peak_bytes <= most_bytes and ",
        new="if ",
        tests=(
            f"{_FIRST_LOAD}a_call_has_no_more_rows_than_were_tried_or_fit_into_memory",
            f"{_FIRST_LOAD}a_model_whose_calls_are_too_much_for_this_machine_goes_back[changed0-None]",
        ),
    ),
    Mutation(
        name="rows-never-tried",
        path="worker/compute/first_load.py",
        old="if not calls or (wanted or 0) > calls[-1].tile_items:",
        new="if not calls:",
        tests=(f"{_FIRST_LOAD}rows_that_were_never_tried_are_tried_here_first",),
        raises="fornada.errors.ModelWallError",
    ),
    Mutation(
        name="more-rows-than-were-tried",
        path="worker/compute/tile_choice.py",
        old="items = min(self._wanted_items(work), most_items)",
        new="items = self._wanted_items(work)",
        tests=(f"{_TILES}no_call_has_more_rows_than_may_be_made_here[32-32]",),
        raises="fornada.errors.ModelDeclinedError",
    ),
    # The bytes.
    Mutation(
        name="tile-not-padded",
        path="worker/compute/predictor.py",
        old="                self._predict = self._compile(tile_items)\n",
        new="                import numpy as np\n\n"
        "                def bare(tile: Rows) -> Rows:\n"
        "                    filled = 1 + int(np.argwhere(tile.only)[-1, 0])\n"
        "                    outputs = self._compile(filled)(tile[:filled]).only\n"
        "                    return Rows(np.pad(outputs, ((0, len(tile) - filled), (0, 0))))\n\n"
        "                self._predict = bare\n",
        tests=(f"{_BYTES}no_byte_depends_on_split_order_company_threads_or_retries[keras-4]",),
    ),
    # Models that a worker declines, jobs that cannot be read, and buckets.
    Mutation(
        name="address-in-outcomes",
        path="worker/shards/service.py",
        old="        return exc.public_text\n",
        new="        return str(exc)\n",
        tests=(
            (
                "tests/unit/worker/shards/test_public_texts.py::"
                "test_what_a_submitter_reads_of_a_refusal_has_no_address"
                "[conditional-input/0.npy-error1-dead-fewer bytes than the range asks]"
            ),
        ),
    ),
    Mutation(
        name="refusal-ends-the-job",
        path="worker/compute/declined_models.py",
        old="raise ModelDeclinedError(str(exc)).with_public_text(exc.public_text) from exc",
        new="raise ModelUnusableError(str(exc)) from exc",
        tests=(
            f"{_SERVICE}a_model_that_this_worker_cannot_load_is_left_to_another[conditional-ModelRefusedError]",
        ),
    ),
    Mutation(
        name="decline-ends-the-job",
        path="worker/shards/service.py",
        old="            self._models.decline(manifest.model, exc)\n            raise\n",
        new='            self._endings.end(manifest, "FAILED", str(exc))\n'
        "            raise Settled(ShardResult.FAILED) from exc\n",
        tests=(
            f"{_SERVICE}a_model_that_this_worker_cannot_load_is_left_to_another[conditional-ConfigError]",
        ),
    ),
    Mutation(
        name="refusal-counts-an-attempt",
        path="fornada/coordination/lua/give_back.lua",
        old="  if first then\n",
        new="  if false then\n",
        tests=(f"{_COORDINATION}shards_given_back_are_free_uncounted_and_say_why[redis]",),
    ),
    Mutation(
        name="refusal-keeps-the-lease",
        path="worker/shards/steps.py",
        old="self._leases.give_back(runs, process=self._worker, why=why)",
        new="[self._leases.forget_attempt(run) for run in runs]",
        tests=(
            f"{_SERVICE}a_model_that_this_worker_cannot_load_is_left_to_another[conditional-LocalDiskError]",
        ),
    ),
    Mutation(
        name="given-back-lease-taken-again",
        path="worker/shards/service.py",
        old="if not steps.is_settled(attempt.run)]",
        new="]",
        tests=(f"{_SERVICE}a_lease_that_was_given_back_is_not_renewed[conditional]",),
    ),
    Mutation(
        name="unreadable-looked-at-again",
        path="fornada/coordination/memory.py",
        old="            self._memory.open_jobs.discard(job_id)\n"
        "            if job_id in self._memory.unreadable",
        new="            if job_id in self._memory.unreadable",
        tests=(
            f"{_RECONCILER}a_job_that_cannot_be_read_is_listed_as_such_once_and_not_looked_at_again[conditional]",
            f"{_COORDINATION}a_job_that_cannot_be_read_is_listed_as_such_and_not_as_open[memory]",
        ),
    ),
    Mutation(
        name="permanent-refusal-stops-the-round",
        path="fornada/jobs/upkeep/held_up_jobs.py",
        old='if isinstance(exc, FornadaError) and exc.fault == "transient":',
        new="if isinstance(exc, FornadaError):",
        tests=(f"{_RECONCILER}a_store_that_refuses_one_job_holds_up_no_other[conditional]",),
        raises="fornada.errors.StoreAccessError",
    ),
    Mutation(
        name="held-up-jobs-not-paced",
        path="fornada/jobs/upkeep/held_up_jobs.py",
        old="elif self._round < pace.due_round:",
        new="elif False:",
        tests=(
            f"{_RECONCILER}a_job_that_workers_give_back_is_tried_ever_more_rarely_until_one_takes_it[conditional]",
        ),
    ),
    Mutation(
        name="foreign-bucket-accepted",
        path="fornada/jobs/bucket_id.py",
        old="if theirs.id != ours.id:",
        new="if False:",
        tests=(
            f"{_BUCKET_ID}a_second_bucket_on_one_redis_is_refused_until_it_is_adopted[True]",
            f"{_BUCKET_ID}a_client_of_another_bucket_submits_nothing",
        ),
        raises="Failed",
    ),
    Mutation(
        name="end-of-other-shards-believed",
        path="fornada/jobs/store.py",
        old="if counted != count or last >= count:",
        new="if False:",
        tests=(f"{_JOB}an_end_of_other_shards_than_the_job_has_is_none[missing]",),
        raises="Failed",
    ),
    Mutation(
        name="outcome-of-other-items-counted",
        path="fornada/jobs/store.py",
        old="                if why is None:\n",
        new="                if True:\n",
        tests=(
            f"{_JOB}an_outcome_of_other_items_than_its_shard_has_ends_the_job_as_failed[items]",
            f"{_JOB}an_outcome_of_other_items_than_its_shard_has_ends_the_job_as_failed[beyond]",
        ),
    ),
    Mutation(
        name="records-read-whole",
        path="fornada/storage/checked_reads.py",
        old="objects.get(key, max_bytes=most_bytes + 1).data",
        new="objects.get(key).data",
        tests=(f"{_BOUNDED_READS}no_more_is_read_than_a_record_may_have[end]",),
    ),
    Mutation(
        name="nesting-not-followed",
        path="fornada/formats/tables/nesting.py",
        old="levels.max() > MOST_LEVELS",
        new="levels.max() > 2 * MOST_LEVELS",
        tests=(f"{_NESTING}levels_are_counted_outside_of_texts[nothing-1]",),
        raises="Failed",
    ),
    Mutation(
        name="ends-not-looked-for-unless-told",
        path="producer/following/waiting.py",
        old="            return LOOK_EVERY_S\n",
        new="            return 3600.0\n",
        tests=(f"{_WAITING}an_end_that_nobody_tells_is_seen_by_a_look_now_and_then",),
        raises="TimeoutError",
    ),
    Mutation(
        name="every-notice-of-an-end-followed",
        path="producer/following/waiting.py",
        old="self._doubts_until = self._monotonic() + self._doubt_s",
        new="self._doubts_until = self._monotonic()",
        tests=(f"{_LOOK_TIMES}ends_that_others_invent_cost_few_looks",),
    ),
    Mutation(
        name="webhook-told-again-after-a-kill",
        path="gateway/webhooks/deliveries.py",
        old="if told is not None and is_settled(webhook, told):",
        new="if False:",
        tests=(f"{_DELIVERIES}a_gateway_that_died_after_the_call_is_no_reason_to_call_again",),
    ),
    Mutation(
        name="webhook-told-by-all-gateways",
        path="gateway/webhooks/deliveries.py",
        old="if not self._is_mine(job_id):",
        new="if False:",
        tests=(f"{_DELIVERIES}one_gateway_at_a_time_tells",),
    ),
    Mutation(
        name="webhooks-called-inside-the-network",
        path="gateway/webhooks/addresses.py",
        old="                if not is_public(address):\n",
        new="                if False:\n",
        tests=(f"{_WEBHOOK_CALLS}a_host_with_one_address_that_is_not_public_is_not_called",),
        raises="Failed",
    ),
    # The console.
    Mutation(
        name="forms-of-any-site-taken",
        path="gateway/console/viewers.py",
        old="if not deployment.sessions.is_form_token(",
        new="if False and deployment.sessions.is_form_token(",
        tests=(f"{_CONSOLE_PAGES}a_form_without_the_sessions_token_changes_nothing[]",),
    ),
    Mutation(
        name="sessions-not-signed",
        path="gateway/auth/sessions.py",
        old='is_ours = self._keys.verify("session", "session", body, form["hmac"])',
        new="is_ours = bool(body)",
        tests=(f"{_CONSOLE_SESSIONS}a_changed_session_is_none",),
    ),
    Mutation(
        name="ended-sessions-go-on",
        path="gateway/auth/sessions.py",
        old="if form is None or self._ended.get(_name_of(form)):",
        new="if form is None:",
        tests=(
            f"{_CONSOLE_SESSIONS}logging_out_ends_the_session_at_every_gateway_and_no_other_one",
        ),
    ),
    Mutation(
        name="streams-outlive-keys",
        path="gateway/live/jobs.py",
        old="if not await still_may():",
        new="if not await still_may() and False:",
        tests=(f"{_GATEWAY_EVENTS}a_stream_ends_with_its_key",),
    ),
    Mutation(
        name="others-jobs-on-pages",
        path="gateway/console/job_access.py",
        old="        principal.require_job(manifest)\n",
        new="",
        tests=(f"{_CONSOLE_PAGES}another_owner_finds_nothing_of_a_job[]",),
    ),
    Mutation(
        name="texts-of-others-are-html",
        path="gateway/console/pages.py",
        old="autoescape=True",
        new="autoescape=False",
        tests=(f"{_CONSOLE_PAGES}texts_of_others_are_texts",),
    ),
    Mutation(
        name="whole-shard-read-for-an-item",
        path="gateway/console/items/reading.py",
        old='if spec.format == "npy":',
        new="if False:",
        tests=(f"{_CONSOLE_PAGES}one_item_of_an_array_is_read_without_the_others",),
    ),
    # Predictions over HTTP.
    Mutation(
        name="predict-without-the-scope",
        path="gateway/api/predict.py",
        old="(await caller_of(request)).require(Scope.PREDICT)",
        new="await caller_of(request)",
        tests=(f"{_PREDICT_HTTP}a_key_without_the_scope_may_not_predict",),
    ),
    Mutation(
        name="infer-without-the-scope",
        path="gateway/oip/routes.py",
        old="(await caller_of(request)).require(Scope.PREDICT)",
        new="await caller_of(request)",
        tests=(f"{_OIP}a_key_that_may_not_predict_does_not_infer_but_may_see_models",),
    ),
    Mutation(
        name="body-of-items-without-limit",
        path="gateway/predicting/bodies.py",
        old="if size_bytes > MAX_BODY_BYTES:",
        new="if False:",
        tests=(f"{_PREDICT_HTTP}a_body_that_does_not_end_is_cut_off",),
    ),
    Mutation(
        name="elements-of-bytes-not-counted",
        path="gateway/oip/datatypes.py",
        old="if len(found) != count or sum(map(len, found)) + count * _LENGTH.size != len(data):",
        new="if len(found) != count:",
        tests=(f"{_OIP}binary_elements_that_lie_about_their_length_are_refused",),
    ),
    Mutation(
        name="late-calls-of-loops-not-ended",
        path="producer/calls/predict_calls.py",
        old="if call.due_s <= now_s]",
        new="if False]",
        tests=(f"{_ASYNC_CLIENT}a_call_that_is_late_ends_in_time_and_the_others_go_on",),
        raises="TimeoutError",
    ),
    # Metrics.
    Mutation(
        name="metrics-in-files-of-each-process",
        path="fornada/metrics/slots.py",
        old="made_for(lambda: _PROCESS)",
        new="made_for(lambda: str(__import__('os').getpid()))",
        tests=(f"{_SLOTS}counts_of_killed_processes_stay_and_their_successors_count_on",),
    ),
    Mutation(
        name="metrics-of-what-a-dead-process-was",
        path="fornada/metrics/slots.py",
        old="if isinstance(event, WorkerEnded):",
        new="if False:",
        tests=(f"{_SLOTS}counts_of_killed_processes_stay_and_their_successors_count_on",),
    ),
    Mutation(
        name="backlog-of-one-who-leads-no-more",
        path="fornada/metrics/recorder.py",
        old="if queue not in self._led:",
        new="self._led.setdefault(queue, set())\n            if False:",
        tests=(f"{_RECORDER}only_the_leader_of_a_queue_tells_of_it[worker]",),
    ),
    Mutation(
        name="backlog-of-other-queues",
        path="fornada/jobs/upkeep/backlog_watch.py",
        old="if job.queue == self._queue}",
        new="}",
        tests=(f"{_BACKLOG_WATCH}jobs_that_ended_or_are_of_other_queues_count_for_nothing",),
    ),
    Mutation(
        name="lost-shards-count-as-waiting",
        path="fornada/jobs/upkeep/reconciler.py",
        old="lost_count=len(job.seen.intersection(shards)),",
        new="lost_count=0,",
        tests=(f"{_RECONCILER}listeners_hear_which_shards_were_lost[conditional-True]",),
    ),
    Mutation(
        name="shards-that-others-committed-count",
        path="worker/shards/commits.py",
        old="if each.outcome.attempt != each.attempt.run.attempt:",
        new="if False:",
        tests=(f"{_SERVICE}the_outcome_of_the_attempt_that_came_first_holds[conditional]",),
    ),
    Mutation(
        name="metrics-by-path",
        path="gateway/measured.py",
        old="return path or OTHER",
        new='return str(scope["path"])',
        tests=(f"{_GATEWAY_METRICS}answers_count_by_the_template_of_their_route",),
    ),
    Mutation(
        name="metrics-without-the-scope",
        path="gateway/api/system.py",
        old="    caller.require(Scope.METRICS_READ)\n",
        new="",
        tests=(f"{_GATEWAY_METRICS}a_key_without_the_scope_reads_no_metrics",),
    ),
)
