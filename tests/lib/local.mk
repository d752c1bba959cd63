# SPDX-License-Identifier: GPL-3.0-or-later
EXTRA_DIST += \
	tests/lib/common.sh \
	tests/lib/js.sh \
	tests/lib/listing.py \
	tests/lib/mount.sh \
	tests/lib/objects.py \
	tests/lib/server.sh \
	tests/lib/wire.py
