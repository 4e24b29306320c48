#!/usr/bin/env bash
# Builds the reference environments: .venv-reference/keras2, torch and jax.
# Usage: tests/reference/build.sh [keras2] [torch] [jax]      (no argument: all)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export PIP_DISABLE_PIP_VERSION_CHECK=1 TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=

declare -A modules=(
  [keras2]="tensorflow tensorflow_privacy keras_cv tensorflow_addons"
  [torch]="torch torchvision diffusers transformers opacus pytorch_grad_cam facenet_pytorch lpips"
  [jax]="jax keras jax_privacy"
)
# What an import needs to be told: without TensorFlow, Keras has no default backend.
declare -A settings=([jax]="KERAS_BACKEND=jax")

fail() {
  echo "make reference: $*" >&2
  exit 1
}

find_python() {
  local candidate
  for candidate in python3.11 "$root/.venv/bin/python" python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
      2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail "needs Python 3.11 (TensorFlow 2.15 runs on no later one), found none on PATH."
}

import_all() {  # environment
  env ${settings[$1]:-} "$root/.venv-reference/$1/bin/python" -W ignore - ${modules[$1]} <<'PYTHON'
import importlib
import sys
from importlib import metadata

owners = metadata.packages_distributions()
for name in sys.argv[1:]:
    importlib.import_module(name)
    package = owners[name][0]
    print(f"  {package} {metadata.version(package)}")
PYTHON
}

build() {  # environment
  local venv="$root/.venv-reference/$1" requirements="$here/requirements-$1.txt"
  local stamp="$venv/built-from" want python
  want=$(cat "$here/build.sh" "$requirements" | sha256sum | cut -d' ' -f1)
  if [[ -f $stamp && $(<"$stamp") == "$want" ]]; then
    echo "reference environment $1: up to date"
    return
  fi
  python=$(find_python)
  echo "reference environment $1: installing into ${venv#"$root/"}"
  rm -rf "$venv"
  "$python" -m venv "$venv"
  # Byte-compiling some hundred thousand files that are never imported costs more than
  # the few that are.
  "$venv/bin/pip" install -q --no-deps --no-compile -r "$requirements"
  import_all "$1" 2>"$venv/import.log" || {
    cat "$venv/import.log" >&2
    fail "the environment $1 was installed but does not import."
  }
  echo "$want" >"$stamp"
}

[[ $(uname -sm) == "Linux x86_64" ]] ||
  fail "the pinned packages are those of Linux on x86-64, this is $(uname -sm)."
[[ $# -gt 0 ]] || set -- keras2 torch jax
for name in "$@"; do
  [[ -n ${modules[$name]:-} ]] ||
    fail "expected keras2, torch or jax. Received: $name"
done
for name in "$@"; do build "$name"; done
