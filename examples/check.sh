#!/bin/sh
# Checks that Rust, TypeScript (ajv) and Python (pydantic) come to the same verdict on every fixture.
# Needs cargo, node and npm, python3 with venv. Everything is built in the cargo target directory; the tree stays clean.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
work="${CARGO_TARGET_DIR:-$root/target}/examples"
mkdir -p "$work"

echo "== Rust"
cd "$root"
cargo xtask schema --check
cargo test -q --all-features --test fixtures

echo "== TypeScript"
rm -rf "$work/typescript/generated"
mkdir -p "$work/typescript"
cp examples/typescript/*.json examples/typescript/*.mjs examples/typescript/*.ts "$work/typescript/"
cd "$work/typescript"
# A copy of the lock tells what is installed; nothing is fetched when it has not changed.
if ! cmp -s package-lock.json node_modules/.installed-lock; then
    npm ci --silent --no-audit --no-fund
    cp package-lock.json node_modules/.installed-lock
fi
SCHEMAS="file://$root/schemas/" FIXTURES="file://$root/examples/fixtures/" npm test --silent

echo "== Python"
cd "$root/examples/python"
python="$work/python/venv/bin/python"
if ! cmp -s requirements.txt "$work/python/installed-requirements.txt"; then
    rm -rf "$work/python"
    mkdir -p "$work/python"
    python3 -m venv "$work/python/venv"
    "$python" -m pip install -q --disable-pip-version-check -r requirements.txt
    cp requirements.txt "$work/python/installed-requirements.txt"
fi
rm -rf "$work/python/models"
export PYTHONDONTWRITEBYTECODE=1
"$python" generate.py "$root/schemas" "$work/python/models"
"$python" check.py "$root/schemas" "$root/examples/fixtures" "$work/python/models"

echo "all agree"
