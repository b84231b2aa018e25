# Muster's only Makefile. Each folder's module.mk names what is in it; the rules are all here.
#
#   make              build everything into build/release/
#   make check        build and run all tests
#   make demo         two nodes on this machine, two clients that talk, one killed node
#   make asan check   the same tests with AddressSanitizer and UBSan (also: tsan, cov, fuzz)
#   make lint         format, static analysis, architecture rules, size limits
#   make pure         prove that cores call no clock, socket, loop, log or randomness
#   make fuzz         run every fuzz target for FUZZ_SECONDS (60) each
#   make bench        measure CPU per operation, memory per session and latency
#   make soak         the simulation with many more seeds
#   make install      DESTDIR= PREFIX=/usr/local
#   make coverage     run the tests and print the coverage of each file
#   make V=1 ...      show the commands
#
# Targets install the Debian packages that they need when some are missing (deploy/packages).
# Nothing is ever built outside build/, so `rm -rf build` is a clean tree.

MAKEFLAGS += --no-builtin-rules --no-builtin-variables
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

# ---- variants -----------------------------------------------------------------------------------
VARIANTS := release asan tsan cov fuzzing
VARIANT  ?= release
ifneq ($(filter $(VARIANTS),$(firstword $(MAKECMDGOALS))),)
VARIANT := $(firstword $(MAKECMDGOALS))
endif
B := build/$(VARIANT)

flags.release := -O2
flags.asan    := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
flags.tsan    := -O1 -fsanitize=thread
flags.cov     := -O0 --coverage
flags.fuzzing := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all

ifeq ($(VARIANT),fuzzing)
CC := clang
else
CC := gcc
endif
AR       := gcc-ar
PREFIX   := /usr/local
CPPFLAGS := -I. -I$B/proto -isystem /usr/include/libxml2 -isystem /usr/include/postgresql \
            -D_GNU_SOURCE -MMD -MP
CFLAGS   := -std=gnu17 -g -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
            -Wpointer-arith -Wundef -Wvla -Wformat=2 -fno-common \
            $(if $(filter release,$(VARIANT)),-D_FORTIFY_SOURCE=2 -fstack-protector-strong) \
            $(flags.$(VARIANT)) $(EXTRA_CFLAGS)
LDFLAGS  := -Wl,--as-needed $(flags.$(VARIANT)) $(EXTRA_LDFLAGS)
Q        := $(if $(V),,@)
say       = $(if $(V),,@printf '  %-6s %s\n' $(1) '$(patsubst $B/%,%,$(2))')

# ---- what there is -------------------------------------------------------------------------------
# A module.mk adds to these; see recoveryd/module.mk for an example. X.src and X.core are files of
# the folder X.dir (default: X) that go into the archive X; main.c goes into the program only.
libraries :=#  archives that every program is linked with: common
programs  :=#  programs, each with an archive of its own: recoveryd
protos    :=#  .proto files
tests     :=#  unit test programs, one per source file
libs      := -luv -lssl -lcrypto -lpq -lxml2 -lcares -lprotobuf-c -lidn -ljansson -lmicrohttpd \
             -lcsv -lpthread

include proto/module.mk common/module.mk recoveryd/module.mk proxyd/module.mk presenced/module.mk \
        routerd/module.mk syncagent/module.mk deploy/module.mk test/module.mk

folder  = $(or $($(1).dir),$(1))
objects = $(patsubst %.c,$B/%.o,$(addprefix $(call folder,$(1))/,$(filter-out main.c,$($(1).src) $($(1).core))))
protoc  = $(patsubst proto/%.proto,$B/proto/%.pb-c$(1),$(protos))

all: $(foreach p,$(programs),$B/bin/$p)

# ---- packages ------------------------------------------------------------------------------------
# Checked once for each list; what is missing is installed.
$B/packages: deploy/packages deploy/install-packages
	$(Q)deploy/install-packages deploy/packages
	$(Q)mkdir -p $(@D) && touch $@

# ---- compiling -----------------------------------------------------------------------------------
$B/%.o: %.c $B/flags | $(call protoc,.h)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$B/proto/%.o: $B/proto/%.c $B/flags | $(call protoc,.h)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$B/proto/%.pb-c.c $B/proto/%.pb-c.h &: proto/%.proto | $B/packages
	$(call say,PROTO,$<)
	$(Q)mkdir -p $B/proto
	$(Q)protoc-c --proto_path=proto --c_out=$B/proto $<

# Rewritten only when the flags differ, so that a change of flags rebuilds everything.
$B/flags: FORCE | $B/packages
	$(Q)mkdir -p $(@D)
	$(Q)echo '$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)' | cmp -s - $@ || \
	    echo '$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)' >$@

# ---- linking -------------------------------------------------------------------------------------
$B/lib/proto.a: $(patsubst %.c,%.o,$(call protoc,.c))

define archive
$B/lib/$(1).a: $(call objects,$(1))
endef
$(foreach m,$(libraries) $(programs),$(eval $(call archive,$(m))))

$B/lib/%.a:
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $^

define program
$B/bin/$(1): $B/$(call folder,$(1))/main.o $B/lib/$(1).a $(libraries:%=$B/lib/%.a) $B/lib/proto.a
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(LDFLAGS) -o $$@ $$^ $(libs)
endef
$(foreach p,$(programs),$(eval $(call program,$(p))))

# ---- tests ---------------------------------------------------------------------------------------
# test/unit/FOLDER/test_X.c is linked with FOLDER's archive, so a test can only see its own module,
# what that needs, and common. A simulation may see every core.
archives := $(foreach m,$(programs) $(libraries),$B/lib/$m.a) $B/lib/proto.a

.SECONDEXPANSION:
$B/test/unit/%: $B/test/unit/%.o $$B/lib/$$(notdir $$(*D)).a $(libraries:%=$B/lib/%.a) $B/lib/proto.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(filter-out $B/lib/common.a,$B/lib/$(notdir $(*D)).a) \
	    $(libraries:%=$B/lib/%.a) $B/lib/proto.a -lcmocka $(libs)

sim_objects = $(patsubst %.c,$B/%.o,$(addprefix test/sim/,$(sim.src)))
$B/test/sim/%: $B/test/sim/%.o $(sim_objects) $(archives)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(sim_objects) -Wl,--start-group $(archives) -Wl,--end-group \
	    -lcmocka $(libs)

$B/test/fuzz/%: $B/test/fuzz/%.o $(archives)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $< -Wl,--start-group $(archives) \
	    -Wl,--end-group $(libs)

$B/test/bench/%: $B/test/bench/%.o $(archives)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(archives) -Wl,--end-group $(libs)

unit_tests := $(patsubst %.c,$B/%,$(tests))
sim_tests  := $(patsubst %.c,$B/%,$(sims))

check: all $(unit_tests) $(sim_tests) pure
	$(Q)test/run $B $(unit_tests) $(sim_tests) $(test_scripts)

demo: all
	$(Q)deploy/demo $B

fuzzing_targets := $(patsubst %.c,$B/%,$(wildcard test/fuzz/fuzz_*.c))
fuzzers: $(fuzzing_targets)

fuzz:
	$(Q)$(MAKE) --no-print-directory VARIANT=fuzzing fuzzers
	$(Q)test/fuzz/run build/fuzzing $(or $(FUZZ_SECONDS),60)

bench: all $(patsubst %.c,$B/%,$(wildcard test/bench/bench_*.c))
	$(Q)test/bench/run $B

soak: all $(sim_tests)
	$(Q)test/sim/soak $B $(or $(SOAK_SEEDS),100000)

$(VARIANTS): all

coverage:
	$(Q)$(MAKE) --no-print-directory VARIANT=cov check
	$(Q)cd build/cov && gcov -n $$(find $(libraries) $(foreach p,$(programs),$(call folder,$p)) -name '*.gcda') 2>/dev/null | \
	    awk -F"[':%]" '/^File/ {file = $$2} /^Lines/ && file ~ /c$$/ {printf "%7s%%  %s\n", $$2, file; file = ""}'

# ---- rules of the house that a compiler can check ------------------------------------------------
# A core may call nothing but C functions without effects, assert, mem_*, digest_* (OpenSSL's
# digests as functions of their arguments), the generated messages, stringprep, and what other cores
# export: no clock, no socket, no libuv, no log, no randomness.
pure_symbols := mem_.* digest_.* __assert_fail memcmp memcpy memmove memset memchr memrchr memmem \
                strlen strnlen strcmp strncmp strcasecmp strncasecmp strchr strrchr strstr strcspn \
                strspn snprintf vsnprintf qsort bsearch abort free \
                muster__.* protobuf_c_.* stringprep.* \
                __(memcpy|memmove|memset|snprintf|vsnprintf)_chk \
                __stack_chk_fail _GLOBAL_OFFSET_TABLE_ __asan_.* __ubsan_.* __gcov_.* __tsan_.* \
                __sanitizer_.* __sancov_.* llvm_gcov.* __start_.* __stop_.*

cores = $(foreach m,$(libraries) $(programs),$(patsubst %.c,$B/$(call folder,$m)/%.o,$($(m).core)))
space := $() $()

pure: $(cores)
	$(call say,PURE,$(words $^) core files)
	$(Q)nm --defined-only -f posix $^ | awk 'NF > 2 {print $$1}' | sort -u >$B/core.defined
	$(Q)! nm -u -f posix -A $^ | awk '{print $$1, $$2}' | \
	    grep -vxE '.* ($(subst $(space),|,$(strip $(pure_symbols))))' | \
	    grep -vwFf $B/core.defined

lint: $(call protoc,.h)
	$(Q)test/lint $B

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile

install: all
	$(Q)deploy/install $B '$(DESTDIR)' '$(PREFIX)'

clean:
	$(Q)rm -rf build

FORCE:
.PHONY: all check demo coverage lint fuzz fuzzers bench soak pure help install clean FORCE $(VARIANTS)
.SECONDARY:

-include $(shell find $B -name '*.d' 2>/dev/null)
