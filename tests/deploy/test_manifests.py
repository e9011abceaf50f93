"""deploy/: manifests against a schema, every vgrout command against the real parser, scripts against bash, secrets nowhere."""

import copy
import re
import shlex
import subprocess
import zipfile
from pathlib import Path

import jsonschema
import pytest
import yaml
from ray_crd import manifest

from vgrout.config import load
from vgrout_cli.main import parser

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FILES = [p for p in sorted(DEPLOY.iterdir()) if p.suffix != ".lock"]


def read(name):
    return yaml.safe_load((DEPLOY / name).read_text())


def entrypoints():
    """(file, command) of every vgrout command in deploy/, the words of shell and Docker syntax removed."""
    texts = [(p.name, p.read_text()) for p in FILES]
    texts.append(("rayjob.yaml entrypoint", read("rayjob.yaml")["spec"]["entrypoint"]))
    found = []
    for name, text in texts:
        if name == "rayjob.yaml":  # its entrypoint is folded over lines, and is read as YAML above
            continue
        if name == "README.md":
            text = "\n".join(re.findall(r"```sh[^\n]*\n(.*?)```", text, re.S)) + "\n".join(
                part for part in re.findall(r"`(vgrout \w+ [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
            )
        for line in text.replace("\\\n", " ").splitlines():
            if line.lstrip().startswith(("#", "echo", "COPY")):
                continue
            exec_form = re.search(r'"vgrout", (.*)\]', line)
            if exec_form:
                line = "vgrout " + exec_form.group(1).replace('"', "").replace(",", "")
            shell = re.search(r"(?:^|[\s/])vgrout (?=[a-z])(.*)", line)
            if shell and not re.search(r"-c vgrout|down vgrout|logs vgrout|generic vgrout|service/vgrout", line):
                command = re.split(r" (?:&&|\|\||\||&|;|>)(?: |$)", shell.group(1) + " ")[0].strip()
                found.append((name, command))
    return found


def test_commands_were_found_where_they_are():
    files = {name for name, _ in entrypoints()}
    assert files == {"Dockerfile", "Dockerfile.cpu", "README.md", "rayjob.yaml entrypoint", "sky.yaml", "slurm.sh"}
    assert len(entrypoints()) >= 20


@pytest.mark.parametrize(("name", "command"), entrypoints())
def test_every_vgrout_command_parses(name, command):
    words = [w for w in shlex.split(command) if w != "$@"]
    if words == ["train"]:  # the argument list of the Slurm script
        words = ["train", "configs/tiny.toml"]
    args = parser().parse_args(words)
    if getattr(args, "config", None) and args.config.suffix == ".toml":
        path = ROOT / str(args.config).removeprefix("/opt/vgrout/")
        load(path, arm=args.arm, seed=args.seed, sets=args.sets)  # the preset is there and the fields exist


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycluster.yaml"])
def test_manifests_fit_the_schema(name):
    document = read(name)
    schema = manifest(document["kind"])
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    wrong = copy.deepcopy(document)
    cluster = wrong["spec"].get("rayClusterSpec", wrong["spec"])
    cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(jsonschema.ValidationError, match="volumeMount"):
        jsonschema.validate(wrong, schema)


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycluster.yaml"])
def test_every_mount_has_its_volume_and_every_pod_the_same_image(name):
    cluster = read(name)["spec"]
    cluster = cluster.get("rayClusterSpec", cluster)
    pods = [cluster["headGroupSpec"]["template"]["spec"], *(g["template"]["spec"] for g in cluster["workerGroupSpecs"])]
    for pod in pods:
        assert {m["name"] for c in pod["containers"] for m in c["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    assert {c["image"] for pod in pods for c in pod["containers"]} == {"vgrout:0.1.0"}
    assert cluster["authOptions"] == {"mode": "token"}


def test_the_job_writes_to_the_shared_volume():
    job = read("rayjob.yaml")["spec"]
    args = parser().parse_args(shlex.split(job["entrypoint"])[1:])
    mounts = {m["mountPath"] for m in job["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMounts"]}
    assert any(args.out.is_relative_to(m) for m in mounts)
    config = load(ROOT / "configs/qwen3-4b.toml", arm=args.arm, sets=args.sets)
    gpus = sum(g["replicas"] for g in job["rayClusterSpec"]["workerGroupSpecs"])
    assert config.runtime.learner_gpus + config.runtime.engines * config.runtime.engine_gpus <= gpus


def test_ray_and_vllm_versions_are_those_of_pyproject():
    project = (ROOT / "pyproject.toml").read_text()
    for name in ("rayjob.yaml", "raycluster.yaml"):
        spec = read(name)["spec"]
        assert f"ray[default]=={spec.get('rayClusterSpec', spec)['rayVersion']}" in project
    torch = re.search(r"torch==([\d.]+)", project).group(1)
    assert f"torch=={torch}+cpu" in (DEPLOY / "Dockerfile.cpu").read_text()


def test_images_copy_what_exists_and_all_of_the_package():
    for name in ("Dockerfile", "Dockerfile.cpu"):
        text = (DEPLOY / name).read_text()
        sources = [w for line in re.findall(r"^COPY (.*)$", text, re.M) for w in line.split()[:-1]]
        assert {s for s in sources if not (ROOT / s).exists()} == set()
        assert {"vgrout", "vgrout_cli", "actors", "learner", "sandbox", "configs", "pyproject.toml"} <= set(sources)


def test_sky_yaml():
    sky = read("sky.yaml")
    assert set(sky) <= {"name", "workdir", "resources", "num_nodes", "envs", "secrets", "file_mounts", "setup", "run"}
    assert (ROOT / sky["envs"]["PRESET"]).is_file() and sky["secrets"] == {"HF_TOKEN": ""}
    for part in ("setup", "run"):
        subprocess.run(["bash", "-n"], input=sky[part].encode(), check=True)


def test_scripts_parse_and_refuse_no_arguments():
    script = DEPLOY / "slurm.sh"
    subprocess.run(["bash", "-n", script], check=True)
    done = subprocess.run(["bash", script], capture_output=True, text=True)
    assert done.returncode == 2 and "usage" in done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_no_secret_and_no_machine_path(path):
    text = path.read_text()
    assert not re.search(r"hf_[A-Za-z0-9]{8}|AKIA[A-Z0-9]{12}|-----BEGIN", text)
    assert not re.search(r"(?<![\w.])/(work|root)/", text)


def test_the_upload_of_a_job_is_small(tmp_path):
    """Ray's own packaging of the checkout: source and presets are in it, history, environment and results are not."""
    from ray._private.runtime_env.packaging import create_package

    create_package(str(ROOT), tmp_path / "upload.zip", include_gitignore=True)
    with zipfile.ZipFile(tmp_path / "upload.zip") as archive:
        names = archive.namelist()
    tops = {n.split("/")[0] for n in names}
    assert {"vgrout", "actors", "learner", "sandbox", "configs", "pyproject.toml"} <= tops
    assert not tops & {".git", ".venv", "out", "tests", "docs", "bench"}
    data = sum(p.stat().st_size for p in (ROOT / "data").rglob("*")) if (ROOT / "data").exists() else 0
    assert (tmp_path / "upload.zip").stat().st_size < 14 * 2**20 + data  # most of it the models of the two small worlds
