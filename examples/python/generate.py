"""Generates pydantic models from the published JSON Schemas: `generate.py SCHEMAS OUTPUT`."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def module_name(file: str) -> str:
    return file.removesuffix(".schema.json").replace("-", "_").replace(".", "_")


def generate(schemas: Path, output: Path) -> None:
    # A module takes the name of its file, so the files get names that Python can import.
    with tempfile.TemporaryDirectory() as directory:
        for entry in json.loads((schemas / "index.json").read_text())["schemas"]:
            target = Path(directory) / (module_name(entry["file"]) + ".json")
            target.write_text((schemas / entry["file"]).read_text())
        command = [sys.executable, "-m", "datamodel_code_generator", "--input", directory, "--output", str(output)]
        options = "--input-file-type jsonschema --output-model-type pydantic_v2.BaseModel --target-python-version 3.11"
        options += " --strict-nullable --field-constraints --use-title-as-name --disable-timestamp --formatters builtin"
        subprocess.run(command + options.split(), check=True)


if __name__ == "__main__":
    generate(Path(sys.argv[1]), Path(sys.argv[2]))
