# SPDX-License-Identifier: GPL-3.0-or-later
# Random steps on a mount and on a model of it; tests/integ/model.sh plays them.

EXTRA_DIST += \
	tests/model/attributes.py \
	tests/model/both.py \
	tests/model/entries.py \
	tests/model/handles.py \
	tests/model/mappings.py \
	tests/model/model.py \
	tests/model/names.py \
	tests/model/other.py \
	tests/model/plain.py \
	tests/model/play.py \
	tests/model/steps.py \
	tests/model/whole.py \
	tests/model/world.py \
	tests/model/found/append-mapped.steps \
	tests/model/found/empty-truncate.steps \
	tests/model/found/made-by-reader.steps \
	tests/model/found/made-kept.steps \
	tests/model/found/replaced-xattrs.steps \
	tests/model/found/removed-killed.steps \
	tests/model/found/removed-links.steps \
	tests/model/found/removed-sent.steps \
	tests/model/found/removed-times.steps \
	tests/model/found/removed-truncate.steps \
	tests/model/found/rmdir-killed.steps
