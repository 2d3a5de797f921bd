# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# gate25: `make` builds, `sudo make check` tests, `sudo make demo` shows.
# V=1 prints commands; PREFIX, DESTDIR as usual; B is the build directory.

VERSION  := 0.1.0
B        ?= build
INC      ?= include
PREFIX   ?= /usr/local
CC       ?= gcc
CLANG    ?= clang
BPFTOOL  ?= $(firstword $(wildcard /usr/sbin/bpftool /usr/bin/bpftool) bpftool)
PKGCONF  ?= pkg-config
SANITIZE ?=

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' $(1) $(2))

PKGS     := libbpf libnl-3.0 libnl-route-3.0 libmicrohttpd jansson sqlite3 libsystemd inih \
            libseccomp libcap
CLI_PKGS := jansson ncursesw inih libbpf libnl-3.0 libnl-route-3.0 expat
CFLAGS   ?= -O2 -g
CPPFLAGS += -I$(INC) -Iuser -I$(B) -D_GNU_SOURCE -DGATE_VERSION='"$(VERSION)"' \
            -DGATE_SYSCONFDIR='"/etc/gate25"'
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter
ALL_CFLAGS = $(CFLAGS) $(WARN) $(if $(WERROR),-Werror) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer)
ALL_LDFLAGS = $(LDFLAGS) $(if $(SANITIZE),-fsanitize=$(SANITIZE))
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -fno-strict-aliasing -Wall -Wextra -Wno-unused-parameter -I$(INC) -Ibpf \
            -I/usr/include/$(shell $(CC) -print-multiarch 2>/dev/null)

# One sentence where what building needs is not there; these targets bring it or need none of it.
ifeq ($(filter check check-long net-sanitized net-valgrind demo deb deps clean uninstall format%,$(MAKECMDGOALS)),)
ifneq ($(shell command -v $(CC) >/dev/null && command -v $(CLANG) >/dev/null && \
           command -v $(BPFTOOL) >/dev/null && $(PKGCONF) --exists $(PKGS) $(CLI_PKGS) && echo yes),yes)
$(error packages that building needs are missing: sudo scripts/deps.sh build)
endif
endif

.DELETE_ON_ERROR:
.SUFFIXES:

USER_SRC := $(filter-out user/main.c,$(wildcard user/*.c))
USER_OBJ := $(USER_SRC:%.c=$(B)/%.o)
CLI_SRC  := $(wildcard tools/cli/*.c)
CLI_OBJ  := $(CLI_SRC:%.c=$(B)/%.o)
# gate25-more has the commands that gate25 hands over, and all others
MORE_OBJ := $(filter-out %/handover.o,$(CLI_OBJ)) \
            $(patsubst %.c,$(B)/%.o,$(wildcard tools/cli/more/*.c))
UNIT     := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))
BPFTEST  := $(patsubst tests/bpf/%.c,$(B)/tests/bpf/%,$(wildcard tests/bpf/test_*.c))
BENCH    := $(patsubst tools/bench/%.c,$(B)/tools/bench/%,$(wildcard tools/bench/*.c))
# an archive: a test that plays a part itself must not get the lib's user of the real one
TESTLIB  := $(B)/libtests.a
SKEL     := $(B)/gate25.skel.h $(B)/early.skel.h
LIB      := $(B)/libgate25.a
LIBS     := $(shell $(PKGCONF) --libs $(PKGS) 2>/dev/null) -lelf -lz
CLI_LIBS := $(shell $(PKGCONF) --libs $(CLI_PKGS) 2>/dev/null) -lelf -lz
CPPFLAGS += $(shell $(PKGCONF) --cflags $(PKGS) $(CLI_PKGS) 2>/dev/null)

.PHONY: all clean check check-long next preload net-programs unit bpf-tests net net-confined net-sanitized net-valgrind soak deps format format-check lint lint-warnings \
        lint-static lint-scripts demo install install-host uninstall bench tests
all: $(B)/gate25d $(B)/gate25 $(B)/gate25-more

# ---- packet programs: .bpf.c -> .bpf.o -> .skel.h
$(B)/bpf/%.bpf.o: bpf/%.bpf.c
	$(call say,CLANG,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MT $@ -MF $(@:.o=.d) -c $< -o $@
$(B)/%.skel.h: $(B)/bpf/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $(subst .,_,$*)_bpf >$@

# ---- user space
$(B)/%.o: %.c | $(SKEL)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c $< -o $@
$(LIB): $(USER_OBJ)
	$(call say,AR,$@)
	@rm -f $@
	$(Q)ar rcs $@ $^
$(B)/gate25d: $(B)/user/main.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -o $@
$(B)/gate25: $(CLI_OBJ) $(LIB)
$(B)/gate25-more: $(MORE_OBJ) $(LIB)
$(B)/gate25 $(B)/gate25-more:
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--as-needed $^ $(CLI_LIBS) -o $@

# ---- tests and benchmarks: one program per file
$(TESTLIB): $(patsubst %.c,$(B)/%.o,$(wildcard tests/lib/*.c))
	$(call say,AR,$@)
	@rm -f $@
	$(Q)ar rcs $@ $^
$(B)/tests/unit/%: $(B)/tests/unit/%.o $(TESTLIB) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -lcmocka -o $@
# These run the CLI itself, all of it but main().
$(filter $(B)/tests/unit/test_cli%,$(UNIT)): %: %.o $(filter-out %/main.o,$(MORE_OBJ)) $(TESTLIB) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) $(CLI_LIBS) -lcmocka -o $@
$(B)/tests/bpf/%: $(B)/tests/bpf/%.o $(TESTLIB) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -lcmocka -o $@
# They bring an engine of their own; the first definition is taken.
$(B)/tests/bpf/test_ports $(B)/tests/bpf/test_ports_moved: ALL_LDFLAGS += -Wl,-z,muldefs
# loaded into the daemon before its own libraries, to play a kernel that refuses
$(B)/tests/lib/%.so: tests/lib/preload/%.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -D_GNU_SOURCE $(ALL_CFLAGS) -fPIC -shared $< -o $@
PRELOAD := $(patsubst tests/lib/preload/%.c,$(B)/tests/lib/%.so,$(wildcard tests/lib/preload/*.c))
tests: all next $(UNIT) $(BPFTEST) $(PRELOAD)
.SECONDARY:

# ---- proof; each target ends in one line, "N passed, N failed, N skipped"
RUN = tests/run --build $(B)
unit: $(UNIT)
	@$(RUN) unit
bpf-tests: $(BPFTEST)
	@$(RUN) bpf
preload: $(PRELOAD)
net-programs: all next preload
# NET=tests/net/test_cli.py runs one file of them, here and in the targets below
NET ?= net
# Those of them whose subject the daemon and the command are: not what a package or the bench holds.
NET_OF_OURS = $(if $(filter net,$(NET)),$(filter-out %_package.py %_bench.py,$(wildcard tests/net/test_*.py)),$(NET))
net: net-programs
	@$(RUN) $(NET)
# The same with the daemon under the restrictions of its unit, as a user of its own.
net-confined: net-programs
	@GATE25_CONFINED=1 $(RUN) $(NET)
# The same with daemon, command and the next daemon built with sanitizers: a report of any of
# them fails the test that it belongs to.
SANITIZED := $(B)/sanitized
net-sanitized: REPORTS := $(abspath $(SANITIZED)/reports)
net-sanitized: deps
	@$(MAKE) --no-print-directory B=$(SANITIZED) SANITIZE=address,undefined all next preload
	@rm -rf $(REPORTS) && install -d -m 1777 $(REPORTS)
	@GATE25_REPORTS=$(REPORTS) ASAN_OPTIONS=log_path=$(REPORTS)/report \
		UBSAN_OPTIONS=print_stacktrace=1:log_path=$(REPORTS)/report \
		LSAN_OPTIONS=suppressions=$(abspath tests/lib/leaks.supp):print_suppressions=0 \
		tests/run --build $(SANITIZED) $(NET_OF_OURS)
# The same under valgrind, which makes a program forty times slower: two hours.
net-valgrind: REPORTS := $(abspath $(B)/valgrind)
net-valgrind: deps
	@$(MAKE) --no-print-directory all next preload
	@rm -rf $(REPORTS) && install -d -m 1777 $(REPORTS)
	@GATE25_REPORTS=$(REPORTS) GATE25_PATIENCE=30 GATE25_WRAPPER="valgrind -q --leak-check=full \
		--show-leak-kinds=definite --errors-for-leak-kinds=definite \
		--suppressions=$(abspath tests/lib/valgrind.supp) \
		--log-file=$(REPORTS)/report.%q{GATE25_RUN}.%p" \
		$(RUN) $(NET_OF_OURS)
# The daemon of the next ABI: this tree with other layouts, to upgrade to and back.
NEXT := $(B)/next
$(NEXT)/include/gate25/abi.h: include/gate25/abi.h tests/lib/next_abi.py
	@mkdir -p $(@D)
	$(Q)/usr/bin/python3 tests/lib/next_abi.py $< $@
$(NEXT)/include/gate25/near.h: include/gate25/near.h
	@mkdir -p $(@D)
	$(Q)cp $< $@
next: $(NEXT)/include/gate25/abi.h $(NEXT)/include/gate25/near.h
	@$(MAKE) --no-print-directory B=$(NEXT) INC=$(NEXT)/include CFLAGS='-O1 -g -w' WERROR= $(NEXT)/gate25d
# All that a day brings at once, for so many minutes: memory, descriptors and map entries stay flat.
MINUTES ?= 60
soak: deps
	@$(MAKE) --no-print-directory WERROR=1 all
	@GATE25_BUILD=$(abspath $(B)) /usr/bin/python3 -B scripts/soak.py --minutes $(MINUTES) --csv $(B)/soak.csv
# Tests that repeat what they do, as often as it takes to be sure: three quarters of an hour.
check-long: deps
	@$(MAKE) --no-print-directory WERROR=1 tests
	@GATE25_LONG=1 $(RUN) net tests/vm/long_systemd.py
deps:
	@scripts/deps.sh build test
# The programs of these packages are found by the second make, not by this one.
check: deps
	@$(MAKE) --no-print-directory WERROR=1 tests
	@$(RUN)
demo:
	@scripts/deps.sh build demo
	@$(MAKE) --no-print-directory all
	@scripts/demo.sh

# ---- installation: DESTDIR stages for packages, without it the user is made too
BINDIR   ?= $(PREFIX)/bin
SBINDIR  ?= $(PREFIX)/sbin
MANDIR   ?= $(PREFIX)/share/man
BASHCOMP ?= $(PREFIX)/share/bash-completion/completions
ZSHCOMP  ?= $(PREFIX)/share/zsh/vendor-completions
# systemd looks below /usr/local/lib too
SYSTEMD  ?= $(PREFIX)/lib
SHARE    ?= $(PREFIX)/share/gate25
# gate25 finds it from its own place
LIBEXEC  := $(dir $(BINDIR))libexec/gate25
SYSCONF  := /etc/gate25
UNITS    := gate25d.service sys-fs-bpf-gate25.mount
MAN      := $(notdir $(wildcard tools/man/*))
man_path  = $(MANDIR)/man$(lastword $(subst ., ,$(1)))/$(1)
put       = $(Q)install -D -m $(1) $(2) $(DESTDIR)$(3)

install: all
	$(Q)[ -n "$(DESTDIR)" ] || command -v systemd-sysusers >/dev/null || \
	    { echo 'make install: there is no systemd here; DESTDIR=/ only puts the files in place' >&2; exit 1; }
	$(call say,INSTALL,$(DESTDIR)$(PREFIX))
	$(call put,755,$(B)/gate25,$(BINDIR)/gate25)
	$(call put,755,$(B)/gate25-more,$(LIBEXEC)/gate25-more)
	$(call put,755,$(B)/gate25d,$(SBINDIR)/gate25d)
	$(Q)$(foreach m,$(MAN),install -D -m 644 tools/man/$(m) $(DESTDIR)$(call man_path,$(m)) &&) :
	$(call put,644,tools/completion/gate25.bash,$(BASHCOMP)/gate25)
	$(call put,644,tools/completion/_gate25,$(ZSHCOMP)/_gate25)
	$(call put,755,tools/hooks/libvirt-qemu,$(SHARE)/hooks/libvirt-qemu)
	$(call put,755,tools/hooks/proxmox,$(SHARE)/hooks/proxmox)
	$(Q)$(foreach u,$(UNITS),install -D -m 644 tools/units/$(u) $(DESTDIR)$(SYSTEMD)/systemd/system/$(u) &&) :
	$(Q)sed -i 's|@SBINDIR@|$(SBINDIR)|' $(DESTDIR)$(SYSTEMD)/systemd/system/gate25d.service
	$(call put,644,tools/units/gate25.sysusers,$(SYSTEMD)/sysusers.d/gate25.conf)
	$(call put,644,tools/units/gate25.tmpfiles,$(SYSTEMD)/tmpfiles.d/gate25.conf)
	$(Q)install -d $(DESTDIR)$(SHARE)/prometheus $(DESTDIR)$(SHARE)/grafana
	$(Q)install -m 644 $(wildcard tools/prometheus/*.yml) $(DESTDIR)$(SHARE)/prometheus
	$(Q)install -m 644 $(wildcard tools/grafana/*.json) $(DESTDIR)$(SHARE)/grafana
	$(Q)install -d $(DESTDIR)$(SYSCONF)/conf.d
# a configuration that is there is the operator's
	$(Q)[ -e $(DESTDIR)$(SYSCONF)/gate25.conf ] || \
	    install -m 644 tools/conf/gate25.conf $(DESTDIR)$(SYSCONF)/gate25.conf
	$(Q)[ -n "$(DESTDIR)" ] || $(MAKE) --no-print-directory install-host
install-host:
	$(Q)systemd-sysusers $(SYSTEMD)/sysusers.d/gate25.conf
	$(Q)systemd-tmpfiles --create $(SYSTEMD)/tmpfiles.d/gate25.conf
	$(Q)[ ! -d /run/systemd/system ] || systemctl daemon-reload
	@echo 'Installed. Next: edit $(SYSCONF)/gate25.conf, then: systemctl enable --now gate25d'

# Configuration and store stay, and what gates now: `gate25 detach --yes` comes before.
uninstall:
	$(call say,REMOVE,$(DESTDIR)$(PREFIX))
	$(Q)rm -f $(addprefix $(DESTDIR),$(BINDIR)/gate25 $(SBINDIR)/gate25d $(BASHCOMP)/gate25 \
	    $(ZSHCOMP)/_gate25 $(addprefix $(SYSTEMD)/systemd/system/,$(UNITS)) \
	    $(foreach m,$(MAN),$(call man_path,$(m))) \
	    $(SYSTEMD)/sysusers.d/gate25.conf $(SYSTEMD)/tmpfiles.d/gate25.conf)
	$(Q)rm -rf $(DESTDIR)$(SHARE) $(DESTDIR)$(LIBEXEC)

# ---- `make deb`: a Debian package in $(B)/deb, from a copy of the tree
DEB_TREE := $(B)/deb/gate25-$(VERSION)
.PHONY: deb
deb:
	@scripts/deps.sh build package
	$(call say,DEB,$(B)/deb)
	$(Q)rm -rf $(B)/deb && mkdir -p $(DEB_TREE)
	$(Q)cp -a bpf user include tools docs Makefile README.md LICENSE CHANGELOG.md $(DEB_TREE)
	$(Q)cp -a tools/debian $(DEB_TREE)/debian
	$(Q)cd $(DEB_TREE) && env -u MAKEFLAGS -u B DEB_BUILD_OPTIONS="parallel=2 $(DEB_BUILD_OPTIONS)" \
	    dpkg-buildpackage -b -us -uc >../build.log 2>&1 || { tail -n 30 ../build.log; exit 1; }
	@ls $(B)/deb/*.deb

# ---- form
C_FILES = $(shell find bpf user include tools tests -name '*.[ch]')
USER_C  = $(filter-out %.bpf.c,$(filter user/%.c tools/%.c tests/%.c,$(C_FILES)))
format:
	$(Q)clang-format -i $(C_FILES)
format-check:
	$(Q)clang-format --dry-run -Werror $(C_FILES)
lint: format-check lint-warnings lint-static lint-scripts
# gcc's warnings are errors in the build of `check`; these are clang's.
lint-warnings: $(SKEL) $(B)/bench.skel.h
	$(Q)$(CLANG) -fsyntax-only -Werror $(CPPFLAGS) $(WARN) $(USER_C)
# Not asked for: style opinions (information), and functions used by other files
# (unusedFunction); inconclusive findings are not findings.
lint-static: $(SKEL)
	$(Q)cppcheck -q --error-exitcode=1 --std=c11 --inline-suppr --enable=warning,portability \
		--suppressions-list=.cppcheck -D__x86_64__ -D_GNU_SOURCE -Iinclude -Iuser \
		-DGATE_VERSION='"$(VERSION)"' -j 2 $(USER_C)
lint-scripts:
	$(Q)shellcheck $(wildcard scripts/*.sh tools/hooks/*) .ci/run tests/fuzz/run
	$(Q)/usr/bin/python3 -m pyflakes tests/run $(wildcard scripts/*.py tests/lib/*.py tests/net/*.py tests/vm/*.py)

clean:
	rm -rf $(B)

# below vm are systems of others
-include $(shell find $(B) -path $(B)/vm -prune -o -type f -name '*.d' -print 2>/dev/null)

# ---- fuzz: the readers, the reply reader and the words, on the host. SECONDS for each;
# what `make fuzz` finds is left in $(B)/fuzz/NAME.found and fails. `make fuzz-corpus` merges
# what the fuzzers kept into the committed corpus, only what adds to it.
SECONDS    ?= 20
FUZZERS    := readers replies parse
FUZZ_MAX   := 2100
FUZZ_FLAGS := -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
FUZZ_SRC_readers := tests/fuzz/params.c
FUZZ_SRC_parse   := user/parse.c user/parse_addr.c
.PHONY: fuzz fuzz-seeds fuzz-corpus
$(B)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(wildcard tests/fuzz/*.[ch] bpf/*.h include/gate25/*.h user/parse*)
	$(call say,FUZZ,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_FLAGS) $(WARN) -D_GNU_SOURCE -Iinclude -Iuser $< $(FUZZ_SRC_$*) -o $@
$(B)/fuzz/seeds: tests/fuzz/seeds.c tests/lib/frames.c tests/lib/tricks.h tests/fuzz/input.h
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(WARN) -D_GNU_SOURCE -Iinclude tests/fuzz/seeds.c tests/lib/frames.c -o $@
fuzz-seeds: $(B)/fuzz/seeds
	$(Q)$(B)/fuzz/seeds $(B)/fuzz/corpus
fuzz: fuzz-seeds $(FUZZERS:%=$(B)/fuzz/fuzz_%)
	@tests/fuzz/run $(B)/fuzz $(SECONDS) $(FUZZ_MAX) $(FUZZERS)
fuzz-corpus: fuzz-seeds $(FUZZERS:%=$(B)/fuzz/fuzz_%)
	@for f in $(FUZZERS); do mkdir -p tests/fuzz/corpus/$$f; \
		$(B)/fuzz/fuzz_$$f -merge=1 -max_len=$(FUZZ_MAX) tests/fuzz/corpus/$$f $(B)/fuzz/corpus/$$f; done

# ---- bench: `sudo make bench` measures beside the peers (QUICK=1: 2 minutes), `make bench-check`
# holds instruction counts to their bounds, `make bench-doc` writes docs/performance.md anew.
BENCH_LIB := $(patsubst %.c,$(B)/%.o,$(wildcard tools/bench/lib/*.c) tests/lib/fakemaps.c \
		tests/lib/frames.c)
BENCH_PY  := /usr/bin/python3 scripts/bench
.PHONY: bench-programs bench-check bench-bounds bench-doc
$(B)/tools/bench/bpf/%.bpf.o: tools/bench/bpf/%.bpf.c
	$(call say,CLANG,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MT $@ -MF $(@:.o=.d) -c $< -o $@
$(B)/bench.skel.h: $(B)/tools/bench/bpf/bench.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name bench_bpf >$@
$(BENCH_LIB): | $(B)/bench.skel.h
$(BENCH): %: %.o $(BENCH_LIB) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -o $@
# loaded into the daemon beside its own libraries, to know when it reads
$(B)/tools/bench/%.so: tools/bench/preload/%.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -D_GNU_SOURCE $(ALL_CFLAGS) -fPIC -shared $< -o $@
bench-programs: all $(BENCH) $(B)/tools/bench/reads.so
net-programs tests: bench-programs
bench: bench-programs
	@$(BENCH_PY)/run.py --build $(B) $(if $(QUICK),--quick) $(BENCH_ARGS)
bench-check: bench-programs
	@$(BENCH_PY)/check.py --build $(B)
bench-bounds: bench-programs
	@$(BENCH_PY)/check.py --build $(B) --write
bench-doc:
	@$(BENCH_PY)/doc.py --build $(B)

# ---- vm: Debian's kernels and real guests under QEMU
.PHONY: vm vm-insns
tests: $(B)/tests/vm/insns $(FUZZERS:%=$(B)/fuzz/fuzz_%)
$(B)/tests/vm/insns: tests/vm/insns.c $(SKEL)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(WARN) -Iinclude -I$(B) $< -lbpf -lelf -lz -o $@
vm: all $(BPFTEST) $(B)/tests/vm/insns
	@$(RUN) vm
vm-insns: $(B)/tests/vm/insns
	@GATE25_BUILD=$(abspath $(B)) /usr/bin/python3 -B tests/vm/test_kernels.py record
