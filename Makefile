# SPDX-License-Identifier: BSD-2-Clause
# make, make demo, make check, make stress, make bench, make install: see README.md.

VERSION		:= 0.1.0
PREFIX		?= /usr/local
# Where everything built goes; give another one for a second variant beside it.
BUILD		?= build
# SANITIZE=address,undefined or SANITIZE=thread; WERROR=1 makes warnings errors.
SANITIZE	?=
WERROR		?=

PKGS_LIB	:= zlib uuid mount
PKGS_FUSE	:= fuse3 libcap-ng
PKGS_CLI	:= jansson blkid

CFLAGS		?= -O2 -g
WARNFLAGS	:= -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
		   -Wpointer-arith -Wvla -Wformat=2 -Wno-unused-parameter
ALL_CFLAGS	= -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -pthread -fPIE \
		  -DZONEFSD_VERSION='"$(VERSION)"' -DFUSE_USE_VERSION=314 -Iinclude \
		  $(WARNFLAGS) $(if $(WERROR),-Werror) \
		  $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer) \
		  $(CFLAGS)
ALL_LDFLAGS	= -pthread -pie $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(LDFLAGS)

# One archive a layer, in link order: a layer knows only those behind it.
LAYERS		:= zonefs zdev util
ARCHIVES	:= $(LAYERS:%=$(BUILD)/lib%.a)
SBIN		:= zonefsd zonefsctl zonefs-losetup
HELPERS		:= mount.fuse.zonefsd umount.fuse.zonefsd

srcs		= $(sort $(wildcard src/$(1)/*.c))
objs		= $(patsubst %.c,$(BUILD)/%.o,$(1))
pkgcflags	= $(shell pkg-config --cflags $(1))
pkglibs		= $(shell pkg-config --libs $(1))

all: $(SBIN:%=$(BUILD)/%) $(HELPERS:%=$(BUILD)/%)

$(BUILD)/zonefsd: $(call objs,$(call srcs,fuse)) $(ARCHIVES)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call pkglibs,$(PKGS_FUSE) $(PKGS_LIB)) $(LDLIBS)

$(BUILD)/zonefsctl: $(call objs,$(call srcs,cli)) $(ARCHIVES)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call pkglibs,$(PKGS_CLI) $(PKGS_LIB)) $(LDLIBS)

$(BUILD)/zonefs-losetup: $(call objs,mount/losetup.c) $(BUILD)/libutil.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call pkglibs,jansson $(PKGS_LIB)) $(LDLIBS)

$(HELPERS:%=$(BUILD)/%): $(BUILD)/%: $(BUILD)/mount/%.o $(BUILD)/mount/helper.o \
		$(BUILD)/libutil.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call pkglibs,$(PKGS_LIB)) $(LDLIBS)

$(ARCHIVES): $(BUILD)/lib%.a:
	@rm -f $@
	$(AR) rcs $@ $^
$(foreach l,$(LAYERS),$(eval $(BUILD)/lib$(l).a: $(call objs,$(call srcs,$(l)))))

# Where the mount helper looks for zonefsd. The stamp rebuilds it when that moves.
$(BUILD)/mount/mount.fuse.zonefsd.o: EXTRA = -DZONEFSD_SBINDIR='"$(PREFIX)/sbin"'
$(BUILD)/mount/mount.fuse.zonefsd.o: $(BUILD)/prefix
$(BUILD)/prefix: FORCE
	@mkdir -p $(@D)
	@echo '$(PREFIX)' | cmp -s - $@ || echo '$(PREFIX)' >$@
FORCE:

$(BUILD)/src/fuse/%.o: EXTRA = $(call pkgcflags,$(PKGS_FUSE))
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(EXTRA) -MMD -MP -c -o $@ $<

# Unit tests: plain programs, one a file, that exit 0 when all asserts hold.
UNIT		:= $(patsubst tests/unit/%.c,%,$(sort $(wildcard tests/unit/test-*.c)))
unit-tests: $(UNIT:%=$(BUILD)/tests/%)
$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(ARCHIVES)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call pkglibs,$(PKGS_LIB)) $(LDLIBS)

# What the bats suites call: system calls and crashes from the shell.
SUPPORT		:= zio zcrash
support: $(SUPPORT:%=$(BUILD)/support/%)
$(BUILD)/support/%: $(BUILD)/tests/support/%.o
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

# Every test that this machine can run; the last line sums up. See tests/run.
check: deps
	@BUILD=$(BUILD)/check tests/run
# Parts of it, for a build that stands already; one suite: tests/run FILE.bats.
check-unit check-bats check-valgrind check-tsan check-asan: check-%:
	@BUILD=$(BUILD)/check tests/run build $*
# Hours of crashes, big trees and parallel load.
stress:
	@BUILD=$(BUILD)/check tests/run build stress
# Figures against the raw backing file; BENCH_SAVE=1 puts them in BENCHMARKS.md.
bench: all support
	@BUILD=$(BUILD) BENCH_SAVE=$(BENCH_SAVE) tests/bench/run

clean:
	rm -rf $(BUILD)

-include $(shell test -d $(BUILD) && find $(BUILD) -name '*.d')
.PHONY: all clean unit-tests FORCE support check check-unit check-bats check-valgrind \
	check-tsan check-asan stress bench
.SECONDARY:
