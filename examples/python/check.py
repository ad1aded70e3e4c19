"""Validates every fixture with the generated pydantic models and compares the verdicts with the expected ones.

`check.py SCHEMAS FIXTURES MODELS`; MODELS is the output directory of `generate.py`.
"""

import importlib
import json
import sys
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from generate import module_name


def adapters(schemas: Path, models: Path) -> dict[str, TypeAdapter]:
    sys.path.insert(0, str(models.parent))
    result = {}
    for entry in json.loads((schemas / "index.json").read_text())["schemas"]:
        module = importlib.import_module(f"{models.name}.{module_name(entry['file'])}")
        result[entry["file"]] = TypeAdapter(getattr(module, entry["name"]))
    return result


def is_valid(adapter: TypeAdapter, instance: object) -> bool:
    # From JSON text and strictly: no "1" for 1.
    try:
        adapter.validate_json(json.dumps(instance), strict=True)
    except ValidationError:
        return False
    return True


def main() -> int:
    schemas, fixtures, models = (Path(argument).resolve() for argument in sys.argv[1:])
    by_file = adapters(schemas, models)
    count = 0
    disagreements = []
    for path in [*sorted((fixtures / "generated").glob("*.json")), fixtures / "rules.json"]:
        document = json.loads(path.read_text())
        for case in document["cases"]:
            count += 1
            schema = case.get("schema") or document["schema"]
            if is_valid(by_file[schema], case["instance"]) != case["schemaValid"]:
                expected = "valid" if case["schemaValid"] else "invalid"
                disagreements.append(f"{schema}: {case['name']}: expected {expected}")
    for line in disagreements:
        print(line, file=sys.stderr)
    print(f"pydantic: {len(by_file)} schemas, {count} fixtures, {len(disagreements)} disagreements")
    return 0 if not disagreements and count >= 60 else 1


if __name__ == "__main__":
    sys.exit(main())
