#!/bin/sh
# Run the tests: most of them in two processes, since they wait more than they work; then, one after the other, those that
# measure or listen in real time (marker "alone").
set -eu

run() {
	echo "+ pytest $*"
	status=0
	.venv/bin/python -m pytest "$@" || status=$?
	[ "$status" -eq 5 ] && status=0 # nothing of this kind was asked for
	return "$status"
}

failed=0
run -n "${JOBS:-2}" --dist loadfile -m "not soak and not alone" "$@" || failed=$?
run -m "alone and not soak" "$@" || failed=$?
exit "$failed"
