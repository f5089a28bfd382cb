#!/bin/sh
# reports_race.sh PROGRAM FUNCTION: succeeds when ThreadSanitizer stops PROGRAM for a data race that involves FUNCTION.
# Anything else (it passes, a check of its own fails, it crashes) is a failure.
report=$(TSAN_OPTIONS="halt_on_error=1 exitcode=66" "$1" 2>&1)
status=$?
if [ "$status" -eq 66 ] && printf '%s\n' "$report" | grep -q "WARNING: ThreadSanitizer: data race" &&
  printf '%s\n' "$report" | grep -q "$2"; then
  printf '%s\n' "$report" | grep "SUMMARY"
  exit 0
fi
printf 'the planted mistake was not reported as a data race in %s (exit code %s):\n%s\n' "$2" "$status" "$report"
exit 1
