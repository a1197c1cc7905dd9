#!/bin/sh
# What a fresh machine needs before `make` can set K2 up: prints "ok", or one line that says what to
# install. Usage: doctor.sh [PYTHON]
python=${1:-python3}

say() {
    printf '%s\n' "$1"
    exit 2
}

# at_least FOUND MAJOR MINOR: FOUND is "3.11.7" or "17.0.2" or "21-ea".
at_least() {
    major=$(printf '%s' "$1" | sed 's/[^0-9].*//')
    minor=$(printf '%s' "$1" | sed -n 's/^[0-9]*\.\([0-9]*\).*/\1/p')
    [ "${major:-0}" -gt "$2" ] || { [ "${major:-0}" -eq "$2" ] && [ "${minor:-0}" -ge "$3" ]; }
}

wanted="Python 3.11 or newer is needed"
found=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)
[ -n "$found" ] || say "$wanted, found none as '$python': install it (Debian, Ubuntu: apt install python3 python3-venv), or name one: make PYTHON=/path/to/python3.11"
at_least "$found" 3 11 || say "$wanted, found $found as '$python': install it, or name one: make PYTHON=/path/to/python3.11"
"$python" -c 'import ensurepip, venv' 2>/dev/null || say "Python's venv module is needed: install it (Debian, Ubuntu: apt install python3-venv)"

wanted="Java 17 or newer is needed"
install="install it (Debian, Ubuntu: apt install openjdk-17-jre-headless), or set JAVA_HOME"
java=java
[ -z "$JAVA_HOME" ] || java=$JAVA_HOME/bin/java
found=$("$java" -version 2>&1 | sed -n 's/.*version "\([^"]*\)".*/\1/p' | head -n 1)
[ -n "$found" ] || say "$wanted, found none as '$java': $install"
at_least "$found" 17 0 || say "$wanted, found $found as '$java': $install"

wanted="Maven 3.6.3 or newer is needed"
install="install it (Debian, Ubuntu: apt install maven)"
found=$(mvn -v 2>/dev/null | sed -n 's/.*Apache Maven \([0-9][0-9.]*\).*/\1/p' | head -n 1)
[ -n "$found" ] || say "$wanted, found none as 'mvn': $install"
case $found in 3.6.[012]) false ;; *) at_least "$found" 3 6 ;; esac || say "$wanted, found $found as 'mvn': $install"

echo ok
