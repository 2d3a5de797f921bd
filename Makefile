# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# gate25: `make` builds, `sudo make check` tests, `sudo make demo` shows.
# V=1 prints commands; PREFIX, DESTDIR as usual; B is the build directory.

VERSION  := 0.1.0
B        ?= build
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
CLI_PKGS := jansson ncursesw libbpf libnl-3.0 libnl-route-3.0
CFLAGS   ?= -O2 -g
CPPFLAGS += -Iinclude -Iuser -I$(B) -D_GNU_SOURCE -DGATE_VERSION='"$(VERSION)"' \
            -DGATE_SYSCONFDIR='"/etc/gate25"'
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter
ALL_CFLAGS = $(CFLAGS) $(WARN) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer)
ALL_LDFLAGS = $(LDFLAGS) $(if $(SANITIZE),-fsanitize=$(SANITIZE))
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Wno-unused-parameter -Iinclude -Ibpf \
            -I/usr/include/$(shell $(CC) -print-multiarch)

.DELETE_ON_ERROR:
.SUFFIXES:

USER_SRC := $(filter-out user/main.c,$(wildcard user/*.c))
USER_OBJ := $(USER_SRC:%.c=$(B)/%.o)
CLI_SRC  := $(wildcard tools/cli/*.c)
CLI_OBJ  := $(CLI_SRC:%.c=$(B)/%.o)
UNIT     := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))
BPFTEST  := $(patsubst tests/bpf/%.c,$(B)/tests/bpf/%,$(wildcard tests/bpf/test_*.c))
BENCH    := $(patsubst tools/bench/%.c,$(B)/tools/bench/%,$(wildcard tools/bench/*.c))
TESTLIB  := $(patsubst %.c,$(B)/%.o,$(wildcard tests/lib/*.c))
SKEL     := $(B)/gate25.skel.h
LIB      := $(B)/libgate25.a
LIBS     := $(shell $(PKGCONF) --libs $(PKGS) 2>/dev/null) -lelf -lz
CLI_LIBS := $(shell $(PKGCONF) --libs $(CLI_PKGS) 2>/dev/null) -lelf -lz
CPPFLAGS += $(shell $(PKGCONF) --cflags $(PKGS) 2>/dev/null)

.PHONY: all clean check unit deps format format-check lint demo install bench tests
all: $(B)/gate25d $(B)/gate25

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
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(CLI_LIBS) -o $@

# ---- tests and benchmarks: one program per file
$(B)/tests/unit/%: $(B)/tests/unit/%.o $(TESTLIB) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -lcmocka -o $@
$(B)/tests/bpf/%: $(B)/tests/bpf/%.o $(TESTLIB) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -lcmocka -o $@
$(B)/tools/bench/%: $(B)/tools/bench/%.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -o $@
tests: all $(UNIT) $(BPFTEST)
.SECONDARY:

clean:
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
