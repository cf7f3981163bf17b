#!/bin/sh
# Makes .venv what requirements/ says: environment.sh run|dev|lock. Needs only a Python 3.11 or newer.
cd "$(dirname "$0")/.." || exit 1
for python in "$KOPILKA_PYTHON" python3.11 python3.12 python3.13 python3.14 python3; do
  if [ -n "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    exec "$python" deploy/environment.py "$@"
  fi
done
case "${KOPILKA_LANG:-${LC_ALL:-$LANG}}" in
  ru*) echo "kopilka: нужен Python 3.11 или новее, его нет в PATH; установите его или укажите KOPILKA_PYTHON=/путь/к/python3" ;;
  *) echo "kopilka: Python 3.11 or newer is needed and is not on the PATH; install it, or set KOPILKA_PYTHON=/path/to/python3" ;;
esac >&2
exit 1
