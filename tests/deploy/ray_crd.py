"""The parts of KubeRay's RayCluster and RayJob types that the manifests use, as a strict JSON Schema.

Written here by hand after ray-operator/apis/ray/v1/{raycluster,rayjob}_types.go (and core/v1 for pods): no package ships the
CRDs. Strict means that an unknown field is an error, as with `kubectl apply --validate=strict`; fields not used are left out.
"""

from typing import Any

TEXT, WHOLE = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}
NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 63}
QUANTITY = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|Ki|Mi|Gi|Ti)?$"}
TEXT_MAP = {"type": "object", "additionalProperties": {"type": "string"}}


def table(required: str, **fields: Any) -> dict[str, Any]:
    """An object with exactly these fields; `required` names those that must be there."""
    return {"type": "object", "additionalProperties": False, "required": required.split(), "properties": fields}


def rows(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": of}


AMOUNTS = {"type": "object", "propertyNames": {"enum": ["cpu", "memory", "nvidia.com/gpu"]}, "additionalProperties": QUANTITY}
SECRET = table("name key", name=NAME, key=TEXT, optional={"type": "boolean"})
ENV = table("name", name=TEXT, value={"type": "string"}, valueFrom=table("secretKeyRef", secretKeyRef=SECRET))
CONTAINER = table(
    "name image resources",
    name=NAME,
    image=TEXT,
    env=rows(ENV),
    ports=rows(table("containerPort", containerPort={"type": "integer", "minimum": 1, "maximum": 65535}, name=NAME)),
    resources=table("requests limits", requests=AMOUNTS, limits=AMOUNTS),
    volumeMounts=rows(table("name mountPath", name=NAME, mountPath={"type": "string", "pattern": "^/"})),
)
VOLUME = table(
    "name",
    name=NAME,
    persistentVolumeClaim=table("claimName", claimName=NAME),
    emptyDir=table("", medium={"enum": ["", "Memory"]}, sizeLimit=QUANTITY),
)
TOLERATION = table(
    "key",
    key=TEXT,
    operator={"enum": ["Exists", "Equal"]},
    value=TEXT,
    effect={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
)
POD = table("spec", spec=table("containers", containers=rows(CONTAINER), volumes=rows(VOLUME), tolerations=rows(TOLERATION)))
CLUSTER = table(
    "headGroupSpec rayVersion",
    rayVersion={"const": "2.60.0"},
    enableInTreeAutoscaling={"type": "boolean"},
    autoscalerOptions=table("", idleTimeoutSeconds=WHOLE),
    authOptions=table("mode", mode={"enum": ["token", "disabled"]}),
    headGroupSpec=table("template", rayStartParams=TEXT_MAP, template=POD),
    workerGroupSpecs=rows(
        table(
            "groupName template",
            groupName=NAME,
            replicas=WHOLE,
            minReplicas=WHOLE,
            maxReplicas=WHOLE,
            rayStartParams=TEXT_MAP,
            template=POD,
        )
    ),
)
JOB = table(
    "entrypoint rayClusterSpec",
    entrypoint=TEXT,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode"]},
    shutdownAfterJobFinishes={"type": "boolean"},
    ttlSecondsAfterFinished=WHOLE,
    backoffLimit=WHOLE,
    rayClusterSpec=CLUSTER,
)
KINDS = {"RayJob": JOB, "RayCluster": CLUSTER}


def manifest(kind: str) -> dict[str, Any]:
    """The schema of a whole manifest of `kind`."""
    spec = KINDS[kind]
    return table("apiVersion kind metadata spec", apiVersion={"const": "ray.io/v1"}, kind={"const": kind},
                 metadata=table("name", name=NAME, labels=TEXT_MAP), spec=spec)  # fmt: skip
