#!/bin/sh
# A few seconds of the simulator; the campaign is tests/sim/sim --schedules 1000000 --seed N.
if tests/sim/sim --schedules 4000 --seed 1; then
	echo "1 passed, 0 failed, 0 skipped"
else
	echo "0 passed, 1 failed, 0 skipped"
	exit 1
fi
