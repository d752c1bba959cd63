# SPDX-License-Identifier: GPL-3.0-or-later
EXTRA_DIST += \
	docs/errors.md \
	docs/formats/names.md
include docs/man/local.mk
