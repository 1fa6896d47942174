"""The bill of materials: every installed package that chexkeras rests on, as CycloneDX lists them."""

import importlib.metadata
import json
import re
import uuid
from typing import Any

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


def components() -> list[dict[str, Any]]:
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
        licence = (metadata.get("License-Expression") or metadata.get("License") or "").strip()
        # Some packages put the whole text of their licence here.
        if licence and "\n" not in licence and len(licence) <= 80:
            entry["licenses"] = [{"license": {"name": licence}}]
        found[name] = entry
        waiting += _needed(distribution)
    first = [found.pop(_ROOT)] if _ROOT in found else []
    return first + [found[name] for name in sorted(found)]


def bill_of_materials(made_utc: str) -> dict[str, Any]:
    """Returns the document, the same for the same packages and time.

    Args:
        made_utc: When the run was made, ISO 8601.
    """
    parts = components()
    own = [part for part in parts if part["name"] == _ROOT]
    listed = [part for part in parts if part["name"] != _ROOT]
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([made_utc, parts], sort_keys=True))
    metadata: dict[str, Any] = {"timestamp": made_utc}
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
