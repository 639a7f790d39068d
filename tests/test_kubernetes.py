"""What can be checked of deploy/kubernetes without a cluster: its schema, and that everything named exists."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

import kubernetes_validate
import pytest
import yaml
from starlette.routing import Match

from kb.cli.worker import SHUTDOWN_MS
from kb.config import Settings
from tests.real_services import ROOT
from tests.test_compose import COMPOSE, DOCKERFILE
from web import probes

FOLDER = ROOT / "deploy/kubernetes"
Manifest = dict[str, Any]


def _read(name: str) -> list[Manifest]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


(KUSTOMIZATION,) = _read("kustomization.yaml")
EXAMPLE = "secret.example.yaml"
MANIFESTS = [each for name in [*KUSTOMIZATION["resources"], EXAMPLE] for each in _read(name)]
OLDEST, NEWEST = "1.30", "1.37"
# Of uvicorn and of the system; all others are settings of Zhiwen.
OTHER_VARIABLES = {"FORWARDED_ALLOW_IPS", "HOME"}


def _all(kind: str) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in MANIFESTS if each["kind"] == kind}


def _pod(name: str) -> Manifest:
    found: Manifest = _all("Deployment")[name]["spec"]["template"]
    return found


def _container(name: str) -> Manifest:
    (found,) = _pod(name)["spec"]["containers"]
    return dict(found)


WEB, WORKER = "zhiwen-web", "zhiwen-worker"
PODS = (WEB, WORKER)


def _values(name: str) -> dict[str, str]:
    """What a pod's environment holds."""
    values: dict[str, str] = {}
    for source in _container(name)["envFrom"]:
        if "configMapRef" in source:
            values |= _all("ConfigMap")[source["configMapRef"]["name"]]["data"]
        else:
            values |= _all("Secret")[source["secretRef"]["name"]]["stringData"]
    return values | {each["name"]: each["value"] for each in _container(name)["env"]}


def _selected(selector: dict[str, str]) -> list[str]:
    return [name for name in PODS if selector.items() <= _pod(name)["metadata"]["labels"].items()]


@pytest.mark.parametrize("kubernetes", [OLDEST, NEWEST])
def test_manifests_follow_the_schema(kubernetes: str) -> None:
    for each in MANIFESTS:
        kubernetes_validate.validate(each, kubernetes, strict=True)


def test_schema_is_checked() -> None:
    (wrong,) = _read("volume.yaml")
    wrong["spec"]["acessModes"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


def test_kustomization_names_every_file() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml", EXAMPLE, "secret.yaml"}
    assert set(KUSTOMIZATION["resources"]) == files
    (image,) = KUSTOMIZATION["images"]
    assert {_container(name)["image"] for name in PODS} == {image["name"]}
    assert image["newTag"] == version("zhiwen") == COMPOSE["services"]["web"]["image"].partition(":")[2]


@pytest.mark.parametrize("name", PODS)
def test_settings_exist_and_are_valid(name: str) -> None:
    values = _values(name)
    fields = {field.upper() for field in Settings.model_fields}
    assert set(values) - OTHER_VARIABLES <= fields
    given = {key.lower(): value for key, value in values.items() if key in fields and value}
    settings = Settings(_env_file=None, **given)  # type: ignore[call-arg, arg-type]
    assert not settings.needs_embedded_services
    assert settings.sql_url.startswith("postgresql+psycopg://")
    assert settings.home.is_relative_to("/data")  # the folder itself belongs to the volume


def test_secrets_are_in_secrets() -> None:
    (config,) = _all("ConfigMap").values()
    assert not [name for name in config["data"] if re.search("KEY|TOKEN|PASSWORD|DATABASE_URL|REDIS_URL", name)]
    assert set(_all("Secret")["zhiwen-web"]["stringData"]).isdisjoint(_values(WORKER))


@pytest.mark.parametrize("name", PODS)
def test_pods_have_no_privileges(name: str) -> None:
    pod, container = _pod(name)["spec"], _container(name)
    assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert re.search(rf"--uid {context['runAsUser']} ", DOCKERFILE)
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert _all("Namespace")["zhiwen"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    resources = container["resources"]
    assert set(resources["limits"]) == set(resources["requests"]) == {"cpu", "memory", "ephemeral-storage"}


@pytest.mark.parametrize("name", PODS)
def test_pods_write_where_they_may(name: str) -> None:
    volumes = {each["name"]: each for each in _pod(name)["spec"]["volumes"]}
    mounts = {each["mountPath"]: volumes[each["name"]] for each in _container(name)["volumeMounts"]}
    assert set(mounts) == {"/data", "/tmp"}
    assert _values(name)["HOME"] == "/tmp"
    claim = _all("PersistentVolumeClaim")[mounts["/data"]["persistentVolumeClaim"]["claimName"]]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]  # several pods, on several nodes


def test_reading_stays_below_the_limit_of_memory() -> None:
    values = _values(WORKER)
    limit = int(_container(WORKER)["resources"]["limits"]["memory"].removesuffix("Gi")) * 1024
    assert int(values["PARSING_MEMORY_MB"]) * int(values["WORKER_THREADS"]) < limit


def test_probes_ask_what_the_web_process_answers() -> None:
    container = _container(WEB)
    (port,) = container["ports"]
    asked = {}
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        get = container[name]["httpGet"]
        scope = {"type": "http", "method": "GET", "path": get["path"], "root_path": ""}
        assert any(route.matches(scope)[0] is Match.FULL for route in probes.probe_routes())
        assert get["httpHeaders"] == [{"name": "Host", "value": f"localhost:{port['containerPort']}"}]
        assert get["port"] == port["name"]
        asked[name] = get["path"]
    assert asked == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


def test_worker_is_ready_by_the_check_of_compose() -> None:
    """tests/test_compose.py runs it."""
    check = _container(WORKER)["readinessProbe"]["exec"]["command"][-1]
    assert check == COMPOSE["services"]["worker"]["healthcheck"]["test"][-1]
    assert "livenessProbe" not in _container(WORKER)


def test_commands_are_those_of_compose() -> None:
    assert _container(WEB)["args"] == COMPOSE["services"]["web"]["command"]
    assert _container(WORKER)["args"] == ["zhiwen", "worker"]


def test_pods_have_time_to_end() -> None:
    before = _container(WEB)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert before + int(_values(WEB)["DRAIN_SECONDS"]) < _pod(WEB)["spec"]["terminationGracePeriodSeconds"]
    assert _pod(WORKER)["spec"]["terminationGracePeriodSeconds"] > SHUTDOWN_MS / 1000


def test_selectors_select() -> None:
    for name, deployment in _all("Deployment").items():
        assert _selected(deployment["spec"]["selector"]["matchLabels"]) == [name]
    for name, budget in _all("PodDisruptionBudget").items():
        assert _selected(budget["spec"]["selector"]["matchLabels"]) == [name]
    (service,) = _all("Service").values()
    assert _selected(service["spec"]["selector"]) == [WEB]
    assert service["spec"]["ports"][0]["targetPort"] == _container(WEB)["ports"][0]["name"]


def test_ingress_reaches_the_pages() -> None:
    (ingress,) = _all("Ingress").values()
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    backend = path["backend"]["service"]
    assert backend["port"]["name"] == _all("Service")[backend["name"]]["spec"]["ports"][0]["name"]
    assert _values(WEB)["PUBLIC_URLS"] == f"https://{rule['host']}"
    notes = {name.rpartition("/")[2]: value for name, value in ingress["metadata"]["annotations"].items()}
    assert int(notes["proxy-read-timeout"]) >= 300  # a silent websocket
    assert int(notes["proxy-body-size"].removesuffix("m")) > Settings.model_fields["max_upload_mb"].default


def test_ingress_limits_requests_as_nginx_does() -> None:
    (ingress,) = _all("Ingress").values()
    notes = {name.rpartition("/")[2]: value for name, value in ingress["metadata"]["annotations"].items()}
    nginx = (ROOT / "docs" / "nginx.conf").read_text(encoding="utf-8")
    (rate,), (burst,) = re.findall(r"rate=(\d+)r/s", nginx), re.findall(r"burst=(\d+)", nginx)
    assert notes["limit-rps"] == rate
    assert int(notes["limit-rps"]) * int(notes["limit-burst-multiplier"]) == int(burst)


def test_pods_are_reached_by_the_ingress_controller_only() -> None:
    open_to = {each: [] for each in PODS}  # type: dict[str, list[Any]]
    for policy in _all("NetworkPolicy").values():
        if "Ingress" in policy["spec"]["policyTypes"]:
            for name in _selected(policy["spec"]["podSelector"]["matchLabels"]):
                open_to[name] += policy["spec"]["ingress"]
    assert open_to[WORKER] == []
    (allowed,) = open_to[WEB]
    assert allowed["ports"] == [{"port": "http"}]
    assert len(allowed["from"]) == 1


def test_pods_reach_their_stores() -> None:
    egress = _all("NetworkPolicy")["zhiwen-egress"]["spec"]
    assert _selected(egress["podSelector"]["matchLabels"]) == list(PODS)
    ports = {port["port"] for rule in egress["egress"] for port in rule["ports"]}
    urls = [_values(WORKER)[name] for name in ("DATABASE_URL", "REDIS_URL", "MILVUS_URI")]
    assert {int(found) for url in urls for found in re.findall(r":(\d+)", url)} <= ports
