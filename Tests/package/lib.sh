# shellcheck shell=bash
# For run and in-root: a case is a sentence and a command that must succeed.
cases=0 failures=0
said=$(mktemp)

expect() { # SENTENCE COMMAND…
    local sentence=$1 status=0
    shift
    "$@" >"$said" 2>&1 || status=$?
    cases=$((cases + 1))
    if [ $status = 0 ]; then
        printf 'ok: %s\n' "$sentence"
    else
        failures=$((failures + 1))
        printf 'FAILED: %s (status %s): %s\n' "$sentence" $status "$*"
        sed 's/^/    /' "$said"
    fi
}
not() { ! "$@"; }
same() { [ "$1" = "$2" ] || { printf 'it is: %s\nnot:   %s\n' "$1" "$2" && return 1; }; }
finish() {
    printf '%s: cases: %s, failed: %s\n' "$1" $cases $failures
    rm -f "$said"
    [ $failures = 0 ]
}
