"""What KEDA, the Prometheus operator and Grafana get of the manifests agrees with the code."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from fornada.settings import Settings

from .manifests import OPERATORS, Rendered, container_of, environ_of, of_kind, pods

_ROOT = Path(__file__).parents[3]
#: The fields of the operators' specs that are used here.
_FIELDS = {
    "ScaledObject": {
        "scaleTargetRef",
        "minReplicaCount",
        "maxReplicaCount",
        "pollingInterval",
        "cooldownPeriod",
        "triggers",
    },
    "TriggerAuthentication": {"secretTargetRef"},
    "PodMonitor": {"jobLabel", "selector", "podMetricsEndpoints"},
    "PrometheusRule": {"groups"},
}


def test_custom_resources_have_fields_that_exist(rendered: Rendered) -> None:
    kinds = set()
    for manifests in rendered.values():
        for each in manifests:
            if each["apiVersion"].startswith(OPERATORS):
                kinds.add(each["kind"])
                assert {"apiVersion", "kind", "metadata", "spec"} == set(each)
                assert set(each["spec"]) <= _FIELDS[each["kind"]], each["metadata"]["name"]
    assert set(_FIELDS) == kinds


def test_the_scaler_reads_a_number_that_the_gateway_tells(
    rendered: Rendered, gateway_api: dict[str, Any]
) -> None:
    # Given
    manifests = rendered["overlays/keda"]
    (scaled,) = of_kind(manifests, "ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    url = urlsplit(trigger["metadata"]["url"])
    (settings,) = of_kind(manifests, "ConfigMap")
    (service,) = of_kind(manifests, "Service")

    # Then: the address is the service's, and one that the gateway answers to
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert (host, service["spec"]["ports"][0]["port"]) == (url.hostname, url.port)
    assert host in settings["data"]["FORNADA_GATEWAY_HOSTS"].split(",")
    asked = gateway_api["paths"][url.path]["get"]
    answer = asked["responses"]["200"]["content"]
    schema = answer["application/json"]["schema"]
    for part in trigger["metadata"]["valueLocation"].split("."):
        schema = _resolved(gateway_api, _resolved(gateway_api, schema)["properties"][part])
    assert "integer" == schema["type"]
    # The gateway alone goes on with jobs while there is no worker.
    assert 0 == scaled["spec"]["minReplicaCount"]
    target = scaled["spec"]["scaleTargetRef"]["name"]
    (pool,) = (
        each for each in of_kind(manifests, "Deployment") if each["metadata"]["name"] == target
    )
    # What KEDA decides is not undone by the next `apply`.
    assert "replicas" not in pool["spec"]
    queue = environ_of(manifests, pool["spec"]["template"])["FORNADA_QUEUE"]
    assert f"queue={queue}" == url.query
    assert "queue" in {each["name"] for each in asked["parameters"]}


def test_the_scaler_sends_a_key_as_the_gateway_takes_it(rendered: Rendered) -> None:
    manifests = rendered["overlays/keda"]
    (scaled,) = of_kind(manifests, "ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    (authentication,) = of_kind(manifests, "TriggerAuthentication")

    assert "bearer" == trigger["metadata"]["authMode"]
    assert authentication["metadata"]["name"] == trigger["authenticationRef"]["name"]
    (reference,) = authentication["spec"]["secretTargetRef"]
    assert "token" == reference["parameter"]
    page = (_ROOT / "docs/operations/kubernetes.md").read_text()
    made = (
        f"secret generic {reference['name']} --namespace fornada --from-literal {reference['key']}="
    )
    assert made in page


def test_prometheus_scrapes_every_gateway_and_worker(rendered: Rendered) -> None:
    # Given
    manifests = rendered["overlays/monitoring"]
    (monitor,) = of_kind(manifests, "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    policies = of_kind(manifests, "NetworkPolicy")

    for name in ("fornada-gateway", "fornada-worker"):
        # When
        (pod,) = (pod for each, pod in pods(manifests) if each == name)
        settings = Settings.from_env(
            {
                variable: value
                for variable, value in environ_of(manifests, pod).items()
                if variable.startswith("FORNADA_METRICS")
            }
        )

        # Then
        ports = {each["name"]: each["containerPort"] for each in container_of(pod)["ports"]}
        assert ("0.0.0.0", ports[endpoint["port"]]) == (
            settings.metrics_host,
            settings.metrics_port,
        )
        labels = pod["metadata"]["labels"]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert name == labels[monitor["spec"]["jobLabel"]]
        allowed = [
            port["port"]
            for policy in policies
            if policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
            for rule in policy["spec"].get("ingress", [])
            for port in rule["ports"]
        ]
        assert endpoint["port"] in allowed


def test_the_operator_gets_the_alerts_and_grafana_the_dashboards(rendered: Rendered) -> None:
    manifests = rendered["overlays/monitoring"]
    (rule,) = of_kind(manifests, "PrometheusRule")
    (dashboards,) = (
        each
        for each in of_kind(manifests, "ConfigMap")
        if "grafana_dashboard" in each["metadata"].get("labels", {})
    )

    assert yaml.safe_load((_ROOT / "deploy/prometheus/rules.yml").read_text()) == rule["spec"]
    folder = _ROOT / "deploy/grafana/dashboards"
    assert {path.name: path.read_text() for path in folder.iterdir()} == dashboards["data"]


def _resolved(api: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        found: dict[str, Any] = api["components"]["schemas"][name]
        return found
    return schema
