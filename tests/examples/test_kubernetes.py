"""The manifests fit Kubernetes' schemas and each other, and give a pod no more than it needs."""

import base64
import re
import shutil
import subprocess
import tomllib

import pytest
import yaml

from tests.docs.pages import ROOT
from tests.examples.files import EXAMPLES, MANIFESTS, containers, parse, pod_specs, read, resource, resources

DOCKERFILE = EXAMPLES / "kubernetes" / "Dockerfile"
SECRET = "peft-advisor-database"
# The first whose jobs have a policy for failures that needs no feature gate; the schemas say which are known.
FIRST_VERSION = (1, 31)
EVERY_POD = pytest.mark.parametrize("name", sorted(pod_specs()))
EVERY_JOB = pytest.mark.parametrize("name", ["peft-advisor-tune", "peft-advisor-workers"])


def test_there_are_two_jobs_a_pod_for_files_settings_and_a_volume():
    found = sorted((one["kind"], one["metadata"]["name"]) for one in resources())
    assert found == [
        ("ConfigMap", "peft-advisor"),
        ("Job", "peft-advisor-tune"),
        ("Job", "peft-advisor-workers"),
        ("PersistentVolumeClaim", "peft-advisor"),
        ("Pod", "peft-advisor-files"),
    ]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_every_resource_fits_the_schemas_of_kubernetes_without_unknown_fields(path):
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    versions = [one for one in validator.utils.all_versions() if tuple(map(int, one.split(".")[:2])) >= FIRST_VERSION]
    assert versions
    for one in yaml.safe_load_all(read(path)):
        for version in versions:
            validator.validate(one, version, strict=True)
        with pytest.raises(validator.ValidationError):
            validator.validate({**one, "specification": {}}, versions[-1], strict=True)


@EVERY_POD
def test_a_pod_runs_as_a_user_without_rights_on_a_read_only_root(name):
    spec = pod_specs()[name]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert {"/shared", "/tmp"} == {mount["mountPath"] for mount in container["volumeMounts"]}


@EVERY_POD
def test_what_a_pod_mounts_and_reads_is_made_by_the_other_files(name):
    spec = pod_specs()[name]
    claims = {one["persistentVolumeClaim"]["claimName"] for one in spec["volumes"] if "persistentVolumeClaim" in one}
    assert claims == {resource("PersistentVolumeClaim", "peft-advisor")["metadata"]["name"]}
    named = {one["name"] for one in spec["volumes"]}
    for container in spec["containers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} == named
        for source in container.get("envFrom", ()):
            (what,) = source.values()
            assert what["name"] in (resource("ConfigMap", "peft-advisor")["metadata"]["name"], SECRET)


@EVERY_JOB
def test_a_job_reads_the_settings_and_the_password_and_has_one_gpu_as_limit_and_request(name):
    (container,) = pod_specs()[name]["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": "peft-advisor"}}, {"secretRef": {"name": SECRET}}]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_threads_are_as_many_as_the_cores_that_a_container_may_use():
    threads = resource("ConfigMap", "peft-advisor")["data"]["OMP_NUM_THREADS"]
    trained = [pod_specs()[name]["containers"][0] for name in ("peft-advisor-tune", "peft-advisor-workers")]
    assert {container["resources"]["limits"]["cpu"] for container in trained} == {threads}


def test_all_pods_write_into_one_volume():
    assert resource("PersistentVolumeClaim", "peft-advisor")["spec"]["accessModes"] == ["ReadWriteMany"]


@EVERY_JOB
def test_a_pod_that_is_moved_or_ended_by_a_signal_counts_as_no_failure(name):
    spec = resource("Job", name)["spec"]
    rules = spec["podFailurePolicy"]["rules"]
    (container,) = spec["template"]["spec"]["containers"]
    by_code = {
        code: rule["action"]
        for rule in rules
        for code in rule.get("onExitCodes", {}).get("values", ())
        if rule["onExitCodes"]["containerName"] == container["name"]
    }
    # 128 + SIGINT and 128 + SIGTERM. A database that cannot be reached counts as wrong input (2): to be tried again.
    assert by_code == {130: "Ignore", 143: "Ignore"}
    (moved,) = [rule for rule in rules if "onPodConditions" in rule]
    assert (moved["action"], moved["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # the policy asks for it


@EVERY_JOB
def test_a_pod_has_time_to_come_to_its_next_rung_and_hears_the_signal_from_the_start(name):
    spec = pod_specs()[name]
    assert spec["terminationGracePeriodSeconds"] >= 300
    assert spec["shareProcessNamespace"] is True


@EVERY_JOB
def test_what_a_job_runs_is_a_command_of_the_real_program_on_the_same_study(name):
    (container,) = pod_specs()[name]["containers"]
    understood = parse(["peft-advisor", *container["args"]], resource("ConfigMap", "peft-advisor")["data"])
    assert understood["study"] == "clones"
    assert understood["storage"] == "postgresql+psycopg://advisor@database.example.org/advisor"
    assert all(isinstance(word, str) for word in container["args"])


def test_workers_are_a_queue_so_that_one_that_ends_well_is_not_replaced():
    spec = resource("Job", "peft-advisor-workers")["spec"]
    assert spec["parallelism"] > 1
    assert "completions" not in spec
    assert "completionMode" not in spec


def test_all_containers_run_the_image_that_the_readme_builds():
    images = {container["image"] for container in containers()}
    built = re.findall(r"docker build -f examples/kubernetes/Dockerfile -t (\S+) \.", read(EXAMPLES / "README.md"))
    assert images == set(built)
    version = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]["version"]
    assert all(image.endswith(f":{version}") for image in images)


def test_the_image_has_all_that_the_package_is_built_from():
    copied = {
        word for words in re.findall(r"^COPY (.+)$", read(DOCKERFILE), re.MULTILINE) for word in words.split()[:-1]
    }
    project = tomllib.loads(read(ROOT / "pyproject.toml"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    assert copied == needed | set(wheel["packages"]) | set(wheel["force-include"])
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_installs_an_extra_that_exists_and_runs_as_the_user_of_the_pods():
    (extra,) = re.findall(r'pip install --no-cache-dir "/source\[(\w+)\]"', read(DOCKERFILE))
    assert extra in tomllib.loads(read(ROOT / "pyproject.toml"))["project"]["optional-dependencies"]
    assert re.findall(r"^USER (\d+):\d+$", read(DOCKERFILE), re.MULTILINE) == ["10001"]
    assert "useradd --uid 10001" in read(DOCKERFILE)  # some libraries ask for the name of the user
    assert 'ENTRYPOINT ["peft-advisor"]' in read(DOCKERFILE)


def test_the_command_of_the_readme_makes_the_secret_with_the_password_alone(tmp_path):
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    (command,) = re.findall(r"^kubectl (create secret .+)$", read(EXAMPLES / "README.md"), re.MULTILINE)
    (tmp_path / "database.env").write_text("PGPASSWORD=a password with = and spaces\n")
    # "client" makes the object without asking a server.
    done = subprocess.run(
        [kubectl, *command.split(), "--dry-run=client", "--output=yaml"],
        cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    made = yaml.safe_load(done.stdout)
    assert made["metadata"]["name"] == SECRET
    assert {key: base64.b64decode(text).decode() for key, text in made["data"].items()} == {
        "PGPASSWORD": "a password with = and spaces"
    }
