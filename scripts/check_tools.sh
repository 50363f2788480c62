#!/usr/bin/env bash
# Says what is missing before anything is installed, and what to do about it.
# usage: check_tools.sh PYTHON
set -euo pipefail
python=${1:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "soundalike needs Python 3.11 or later, and '$python' is not." >&2
    echo "Name another one: make PYTHON=python3.12" >&2
    exit 1
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "'$python' cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2
    exit 1
fi
if ! command -v "${CXX:-c++}" >/dev/null; then
    echo "There is no C++ compiler, and Annoy is compiled when it is installed." >&2
    echo "Debian, Ubuntu: apt install g++ python3-dev    Fedora: dnf install gcc-c++ python3-devel" >&2
    echo "macOS: xcode-select --install" >&2
    exit 1
fi
