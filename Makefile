# SPDX-License-Identifier: BSD-2-Clause
# make, make demo, make check, make stress, make bench, make install: see README.md.

VERSION		:= 0.1.0
PREFIX		?= /usr/local
# Where everything built goes; give another one for a second variant beside it.
BUILD		?= build
# V=1 shows whole command lines.
V		?=
# SANITIZE=address,undefined or SANITIZE=thread; WERROR=1 makes warnings errors.
SANITIZE	?=
WERROR		?=

PKGS_LIB	:= zlib uuid mount
PKGS_FUSE	:= fuse3 libcap-ng
PKGS_CLI	:= jansson blkid
PKGS_ZDEV	:= libzbd

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
LAYERS		:= zonefs block zdev util
ARCHIVES	:= $(LAYERS:%=$(BUILD)/lib%.a)
SBIN		:= zonefsd zonefsctl zonefs-losetup
HELPERS		:= mount.fuse.zonefsd umount.fuse.zonefsd

srcs		= $(sort $(wildcard src/$(1)/*.c))
objs		= $(patsubst %.c,$(BUILD)/%.o,$(1))
pkgcflags	= $(shell pkg-config --cflags $(1))
pkglibs		= $(shell pkg-config --libs $(1))
# libaio has nothing for pkg-config.
zdevlibs	= $(call pkglibs,$(PKGS_ZDEV) $(PKGS_LIB)) -laio

# Say in one short line what is made, or show the command.
say		= $(if $(V),,@printf '  %-4s %s\n' $(1) $@;)

all: $(SBIN:%=$(BUILD)/%) $(HELPERS:%=$(BUILD)/%)

$(BUILD)/zonefsd: $(call objs,$(call srcs,fuse)) $(ARCHIVES)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call pkglibs,$(PKGS_FUSE)) $(zdevlibs) $(LDLIBS)

$(BUILD)/zonefsctl: $(call objs,$(call srcs,cli)) $(ARCHIVES)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call pkglibs,$(PKGS_CLI)) $(zdevlibs) $(LDLIBS)

$(BUILD)/zonefs-losetup: $(call objs,mount/losetup.c) $(BUILD)/libutil.a
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call pkglibs,jansson $(PKGS_LIB)) $(LDLIBS)

$(HELPERS:%=$(BUILD)/%): $(BUILD)/%: $(BUILD)/mount/%.o $(BUILD)/mount/helper.o \
		$(BUILD)/libutil.a
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call pkglibs,$(PKGS_LIB)) $(LDLIBS)

$(ARCHIVES): $(BUILD)/lib%.a:
	@rm -f $@
	$(call say,AR)$(AR) rcs $@ $^
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
	$(call say,CC)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(EXTRA) -MMD -MP -c -o $@ $<

# Unit tests: plain programs, one a file, that exit 0 when all asserts hold.
UNIT		:= $(patsubst tests/unit/%.c,%,$(sort $(wildcard tests/unit/test-*.c)))
unit-tests: $(UNIT:%=$(BUILD)/tests/%)
$(BUILD)/tests/test-blk $(BUILD)/tests/test-blk-tails: $(BUILD)/tests/unit/fake-zbd.o
$(patsubst %,$(BUILD)/tests/%,$(filter test-block-%,$(UNIT))): \
	$(patsubst %,$(BUILD)/tests/unit/%.o,block-record block-hist block-rig)
$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(BUILD)/tests/unit/conformance.o $(ARCHIVES)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(zdevlibs) $(LDLIBS)

# Debian packages; nothing else is fetched. First those for make and make demo.
DEPS_BUILD	:= gcc libc6-dev make pkg-config libfuse3-dev fuse3 uuid-dev \
		   libblkid-dev libmount-dev libcap-ng-dev libaio-dev libzbd-dev \
		   zlib1g-dev libjansson-dev mount util-linux
# Those that make check and make bench need besides.
DEPS_TEST	:= bats btrfs-progs clang clang-format clang-tidy cppcheck e2fsprogs fio jq libc6-dbg \
		   mandoc procps rsync shellcheck squashfs-tools strace valgrind xfsprogs
# The sanitizers' run-time library is not part of clang, and named by its version.
DEPS_TEST	+= $(shell . /etc/os-release 2>/dev/null; case "$$ID$$VERSION_ID" in \
			(debian12) echo libclang-rt-14-dev;; (debian13) echo libclang-rt-19-dev;; \
		   esac)
# For the virtual machine of part vm; its kernel is only unpacked, see tests/vm/fetch.
DEPS_VM		:= $(if $(filter amd64,$(shell dpkg --print-architecture 2>/dev/null)),\
		   qemu-system-x86 busybox-static dmsetup kmod xz-utils)
# Installs what is missing; without root, or without apt, says what that is.
deps: DEPS = $(DEPS_BUILD) $(DEPS_TEST) $(DEPS_VM)
deps-build: DEPS = $(DEPS_BUILD)
deps deps-build:
	@if ! command -v dpkg-query >/dev/null; then \
		echo "Not a Debian system. Needed are, by their Debian names: $(DEPS)"; exit 0; \
	fi; \
	missing=; \
	for p in $(DEPS); do \
		dpkg-query -W -f '$${db:Status-Status}\n' "$$p" 2>/dev/null | \
			grep -qx installed || missing="$$missing $$p"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then \
		echo "Missing, install as root: apt-get install --no-install-recommends$$missing"; \
		exit 1; \
	fi; \
	echo "Installing:$$missing"; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get -q update && apt-get -qy install --no-install-recommends $$missing

# From nothing to a mounted device with files in its zones, explained.
demo: deps-build
	@$(MAKE) --no-print-directory BUILD=$(BUILD) all
	@BUILD=$(BUILD) tests/demo.sh

# What the bats suites call: system calls and crashes from the shell.
SUPPORT		:= zio zcrash zshare zblock zfsx zimpostor zcompare zmodel zchurn
support: $(SUPPORT:%=$(BUILD)/support/%)
$(BUILD)/tests/support/zimpostor.o: EXTRA = $(call pkgcflags,fuse3)
$(BUILD)/support/zimpostor: LDLIBS += $(call pkglibs,fuse3)
$(BUILD)/support/zcompare: $(BUILD)/tests/support/zcompare-ops.o
$(BUILD)/support/%: $(BUILD)/tests/support/%.o
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

# Every test that this machine can run; the last line sums up. See tests/run.
check: deps
	@BUILD=$(BUILD)/check tests/run
# Parts of it, for a build that stands already; one suite: tests/run FILE.bats.
check-unit check-bats check-valgrind check-tsan check-asan check-vm: check-%:
	@BUILD=$(BUILD)/check tests/run build $*
# Hours of crashes, big trees and parallel load.
stress:
	@BUILD=$(BUILD)/check tests/run build stress
# Figures against the raw backing file, and in a virtual machine, if there can be one,
# against the kernel's zonefs and dm-zoned; BENCH_SAVE=1 puts them in BENCHMARKS.md.
bench: all support
	@BUILD=$(BUILD) BENCH_SAVE=$(BENCH_SAVE) tests/bench/run
	@BUILD=$(BUILD) BENCH_SAVE=$(BENCH_SAVE) tests/vm/bench
	@BUILD=$(BUILD) BENCH_SAVE=$(BENCH_SAVE) tests/vm/dmz-bench
bench-vm: all
	@BUILD=$(BUILD) BENCH_SAVE=$(BENCH_SAVE) tests/vm/bench
	@BUILD=$(BUILD) BENCH_SAVE=$(BENCH_SAVE) tests/vm/dmz-bench

# The zdev layer alone against a raw file: zdev-bench FOLDER.
zdev-bench: $(BUILD)/bench/zdev-bench
$(BUILD)/bench/%: $(BUILD)/tests/bench/%.o $(ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(zdevlibs) $(LDLIBS)

# Static checks of everything; quiet when there is nothing to say.
C_FILES		= $(wildcard src/*/*.c mount/*.c)
H_FILES		= $(wildcard include/zonefsd/*.h src/*/*.h mount/*.h)
SH_FILES	= $(shell grep -lrE '^.!.*[/ ](sh|bash|bats)$$' tests .ci contrib) \
		  $(wildcard tests/*.bash tests/*/*.bash)
COMPLETIONS	= $(wildcard contrib/bash-completion/*)
TIDY_FLAGS	= -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DZONEFSD_VERSION='""' \
		  -DZONEFSD_SBINDIR='""' -DFUSE_USE_VERSION=314 -Iinclude \
		  $(call pkgcflags,$(PKGS_FUSE) $(PKGS_CLI) $(PKGS_ZDEV) $(PKGS_LIB))
lint: lint-headers lint-cppcheck lint-tidy lint-shell lint-man
# A header includes what it needs.
lint-headers:
	@for h in $(H_FILES); do \
		$(CC) $(TIDY_FLAGS) $(WARNFLAGS) -Werror -fsyntax-only -x c "$$h" || exit 1; \
	done
# Suppressed: the address of a request on the stack, which is waited for; taking the
# size test of a buffer that grows for a test of its pointer; and, in newer versions,
# not following "p = malloc(); ret = p ? f() : -ENOMEM; if (ret < 0)".
lint-cppcheck:
	@cppcheck --quiet --std=c11 -D__linux__ -D_GNU_SOURCE -j 2 --inline-suppr \
		--enable=warning,performance,portability --error-exitcode=1 \
		--suppress=missingIncludeSystem --suppress=autoVariables \
		--suppress=nullPointerArithmeticRedundantCheck \
		--suppress=nullPointerOutOfMemory \
		--suppress=normalCheckLevelMaxBranches -Iinclude $(C_FILES)
lint-tidy:
	@printf '%s\n' $(C_FILES) | \
		xargs -P 2 -I {} clang-tidy --quiet {} -- $(TIDY_FLAGS) 2>/dev/null
# Not taken: ls where names are known (2010), a helper with optional arguments (2120).
lint-shell:
	@shellcheck -x -S warning -e SC2010,SC2120 $(SH_FILES)
	@shellcheck -s bash -S warning $(COMPLETIONS)
lint-man:
	@mandoc -T lint -W warning $(wildcard man/*.8)

# For packagers DESTDIR; mount(8) looks for its helpers in /sbin and nowhere else.
SBINDIR_MOUNT	?= /sbin
MANDIR		= $(PREFIX)/share/man/man8
COMPDIR		= $(PREFIX)/share/bash-completion/completions
DOCDIR		= $(PREFIX)/share/doc/zonefsd
# systemd looks in /usr/local, too.
UNITDIR		= $(PREFIX)/lib/systemd/system
UNITS		:= zonefs-loop@.service
install: all
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(SBINDIR_MOUNT) \
		$(DESTDIR)$(MANDIR) $(DESTDIR)$(COMPDIR) $(DESTDIR)$(DOCDIR) $(DESTDIR)$(UNITDIR)
	install -m 755 $(SBIN:%=$(BUILD)/%) $(DESTDIR)$(PREFIX)/sbin
	install -m 755 $(HELPERS:%=$(BUILD)/%) $(DESTDIR)$(SBINDIR_MOUNT)
	install -m 644 $(wildcard man/*.8) $(DESTDIR)$(MANDIR)
	$(if $(COMPLETIONS),install -m 644 $(COMPLETIONS) $(DESTDIR)$(COMPDIR))
	install -m 644 mount/fstab.example $(DESTDIR)$(DOCDIR)
	for u in $(UNITS); do \
		sed 's|@SBINDIR@|$(PREFIX)/sbin|' mount/$$u.in >$(DESTDIR)$(UNITDIR)/$$u && \
		chmod 644 $(DESTDIR)$(UNITDIR)/$$u || exit 1; \
	done

uninstall:
	rm -f $(SBIN:%=$(DESTDIR)$(PREFIX)/sbin/%) $(HELPERS:%=$(DESTDIR)$(SBINDIR_MOUNT)/%) \
		$(patsubst man/%,$(DESTDIR)$(MANDIR)/%,$(wildcard man/*.8)) \
		$(patsubst contrib/bash-completion/%,$(DESTDIR)$(COMPDIR)/%,$(COMPLETIONS)) \
		$(DESTDIR)$(DOCDIR)/fstab.example $(UNITS:%=$(DESTDIR)$(UNITDIR)/%)

clean:
	rm -rf $(BUILD)

-include $(shell test -d $(BUILD) && find $(BUILD) -name '*.d')
.PHONY: all zdev-bench clean unit-tests FORCE support check check-unit check-bats check-valgrind \
	check-tsan check-asan check-vm stress bench bench-vm deps deps-build demo lint lint-headers lint-cppcheck \
	lint-tidy lint-shell lint-man install uninstall
.SECONDARY:
