"""The bill of materials in CycloneDX: the model, and every installed package that chexkeras rests on."""

import functools
import importlib.metadata
import json
import re
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chexkeras.report.facts.facts import Facts

FILE = "sbom.cdx.json"
_ROOT = "chexkeras"
_NAME = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _needed(distribution: importlib.metadata.Distribution) -> list[str]:
    """Returns the names of what a package needs, extras left out."""
    found = []
    for requirement in distribution.requires or ():
        match = _NAME.match(requirement)
        if match and not re.search(r";.*\bextra\b", requirement):
            found.append(_normal(match[1]))
    return found


@functools.cache
def components() -> tuple[dict[str, Any], ...]:
    """Returns chexkeras and all that it needs, directly or through others, as far as installed here.

    Returns:
        CycloneDX components sorted by name, chexkeras first: name, version, purl, and the licence as its author
        declared it.
    """
    found: dict[str, dict[str, Any]] = {}
    waiting = [_ROOT]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            # Needed on another system only, or not installed as a package.
            continue
        metadata = distribution.metadata
        kind = "application" if name == _ROOT else "library"
        entry: dict[str, Any] = {
            "type": kind,
            "bom-ref": f"pkg:pypi/{name}@{distribution.version}",
            "name": name,
            "version": distribution.version,
            "purl": f"pkg:pypi/{name}@{distribution.version}",
        }
        stated = [str(metadata[field]).strip() for field in ("License-Expression", "License") if field in metadata]
        licence = next(filter(None, stated), "")
        # Some packages put the whole text of their licence here.
        if licence and "\n" not in licence and len(licence) <= 80:
            entry["licenses"] = [{"license": {"name": licence}}]
        found[name] = entry
        waiting += _needed(distribution)
    first = [found.pop(_ROOT)] if _ROOT in found else []
    return (*first, *(found[name] for name in sorted(found)))


def _model(facts: "Facts") -> dict[str, Any]:
    digest = str(facts["hash.model"].value)
    entry: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{digest}",
        "name": str(facts["run.model"].value) or "model",
        "version": str(facts["run.created_utc"].value),
    }
    if digest:
        entry["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return entry


def bill_of_materials(facts: "Facts") -> dict[str, Any]:
    """Returns the document: packages as installed here, and the model of the run; the same for the same of both.

    Args:
        facts: From `collect_facts`; of them the time of the run, the model's name and its fingerprint are used.
    """
    made = str(facts["run.created_utc"].value)
    parts = components()
    own = [part for part in parts if part["name"] == _ROOT]
    listed = [_model(facts), *(part for part in parts if part["name"] != _ROOT)]
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([made, own, listed], sort_keys=True))
    metadata: dict[str, Any] = {"timestamp": made} if made else {}
    if own:
        metadata["component"] = own[0]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": metadata,
        "components": listed,
    }
