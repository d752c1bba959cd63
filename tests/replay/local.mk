# SPDX-License-Identifier: GPL-3.0-or-later
EXTRA_DIST += \
	tests/replay/compare.py \
	tests/replay/differences.txt \
	tests/replay/recordings.jsonl \
	tests/replay/replay.py \
	tests/replay/seeds.py
