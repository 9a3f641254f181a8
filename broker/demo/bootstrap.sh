#!/bin/sh
# Make the local environment `.venv` ready: bootstrap.sh demo | test
#
# The first run fetches the pinned packages with pip. Later runs compare a stamp and touch no network, until a pin, the
# Python or the folder changes. What is missing on the machine is named in one line with the command that installs it.

set -eu
cd "$(dirname "$0")/../.."
wanted=${1:-demo}
venv=.venv

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

install_hint() {
    if command -v apt-get >/dev/null 2>&1; then
        printf 'sudo apt-get install -y %s' "$1"
    elif command -v dnf >/dev/null 2>&1; then
        printf 'sudo dnf install -y %s' "$2"
    else
        printf 'install %s with the package manager of this system' "$2"
    fi
}

is_recent() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null 2>&1 && is_recent "$name"; then
            printf '%s' "$name"
            return
        fi
    done
}

python=$(find_python)
if [ -z "$python" ]; then
    if command -v python3 >/dev/null 2>&1; then
        fail "Python 3.11 or newer is missing (found $(python3 -V 2>&1)): $(install_hint 'python3.11 python3.11-venv' python3.11)"
    fi
    fail "Python 3.11 or newer is missing: $(install_hint 'python3 python3-venv' python3)"
fi

stamp=$venv/.doorward-$wanted
describe() {
    printf '%s %s\n' "$(pwd)" "$("$1" -c 'import sys; print(sys.version, sys.base_prefix)')"
    cat pyproject.toml broker/verify/pyproject.toml broker/demo/pins.txt
}

# An environment whose Python was removed or that was copied here from elsewhere does not work: start afresh.
if [ -x "$venv/bin/python" ] && is_recent "$venv/bin/python" && [ -f "$stamp" ]; then
    if describe "$venv/bin/python" | cmp -s - "$stamp"; then
        exit 0
    fi
fi

# What a link leads to belongs to somebody else, who would find everything in it replaced.
if [ -L "$venv" ]; then
    fail "$venv is a link to $(readlink "$venv"), and what is there was not set up for this folder. Remove the link, so that one is made here: rm $venv"
fi

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    debian="python3-venv"
    [ "$python" = python3 ] || debian="python$version-venv"
    fail "The venv module of $python is missing: $(install_hint "$debian" python3)"
fi

trap 'printf "\nStopped. Run the same command again to go on.\n" >&2; exit 130' INT TERM

echo "Setting up Doorward in $venv with Python $version. This happens once and takes a minute or two."
if ! { [ -x "$venv/bin/python" ] && is_recent "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }; then
    "$python" -m venv --clear "$venv"
fi
rm -f "$venv"/.doorward-*

extras=$wanted
[ "$wanted" = demo ] || extras="demo,$wanted"
log=$venv/install.log
status=$venv/install.status
{
    code=0
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off \
        --constraint broker/demo/pins.txt --editable ".[$extras]" --editable ./broker/verify 2>&1 || code=$?
    echo "$code" >"$status"
} | tee "$log" | while IFS= read -r line; do
    case $line in
    Collecting*)
        rest=${line#Collecting }
        printf '  fetching %s\n' "${rest%% *}"
        ;;
    "Installing collected packages"*) echo "  installing" ;;
    esac
done

if [ "$(cat "$status")" != 0 ]; then
    grep -E '^ *(ERROR|error)' "$log" | tail -n 5 >&2 || tail -n 5 "$log" >&2
    fail "Setting up stopped: pip could not install the packages (is the network there?). All of pip's words: $log"
fi
describe "$venv/bin/python" >"$stamp"
# Whoever has the test tools has all that the demo needs.
[ "$wanted" = demo ] || cp "$stamp" "$venv/.doorward-demo"
echo "Ready."
