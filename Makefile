# Landfall. One Makefile, not recursive; a new source file needs no edit here.
#
#   make            the programs and the tests' helpers, into build/
#   make test       everything that proves the programs right (installs what is missing first)
#   make demo       a whole migration, start to end, on this machine
#   make asan       the tests again under AddressSanitizer and UBSan, in build/asan
#   make fuzz       every parser of strangers' bytes under libFuzzer, FUZZ_SECONDS=30 each, in build/fuzz
#   V=1             shows the commands; WERROR=1 makes warnings errors (the developers' and CI's setting)
#
# A folder is a program; common/ is what two programs need. Each folder's files but main.c become an
# archive, so that a test can put a double of a module in front of it. Objects of different variants
# never meet: each variant has its own folder.

VARIANT ?= release
B       ?= build$(if $(filter-out release,$(VARIANT)),/$(VARIANT))

PACKAGES := libssh openssl libpq libevent libevent_openssl libevent_pthreads libcyaml jansson talloc \
            libsystemd libcurl libcares libseccomp sqlite3
PKG      := $(if $(shell command -v pkg-config),pkg-config,false)
INCLUDES := $(shell $(PKG) --cflags $(PACKAGES) 2>/dev/null)
# FreeTDS ships no .pc file. --as-needed drops what a program does not use, so the receiver is not
# linked with FreeTDS and nothing but the stand-in is linked with SQLite.
LIBS     := -Wl,--as-needed $(shell $(PKG) --libs $(PACKAGES) 2>/dev/null) -lsybdb -lpthread -lm

WARN := -Wall -Wextra -Wshadow -Wformat=2 -Wvla -Wundef -Wstrict-prototypes -Wmissing-prototypes \
        -Wwrite-strings -Wpointer-arith -Wswitch-enum -Wimplicit-fallthrough -Wcast-qual \
        $(if $(findstring clang,$(shell $(CC) --version 2>/dev/null)),-Wno-missing-field-initializers -Wno-format-nonliteral,-Wno-format-truncation)
HARDEN := -fstack-protector-strong -fstack-clash-protection -fPIE
ifeq ($(VARIANT),fuzz)
  MODE := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
  MODELD := -fsanitize=address,undefined
  COVER := -fsanitize=fuzzer-no-link # of what is fuzzed, not of the harnesses
else ifeq ($(VARIANT),asan)
  MODE := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
  MODELD := -fsanitize=address,undefined
else
  # unchecked: without digest and reader, for `make bench` alone; nothing arrives there as a backup.
  MODE := -O2 -g -D_FORTIFY_SOURCE=2 $(if $(filter unchecked,$(VARIANT)),-DUPLOAD_UNCHECKED)
  MODELD :=
endif

LF_CFLAGS := -std=gnu11 -D_GNU_SOURCE $(WARN) $(if $(WERROR),-Werror) $(MODE) $(HARDEN) \
             -I. -I$(B) $(INCLUDES) -pthread $(CFLAGS)
LF_LDFLAGS := -pie -Wl,-z,relro,-z,now -pthread $(MODELD) $(LDFLAGS)

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(patsubst $(CURDIR)/%,%,$@))

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all programs tests benches test test-long test-clients test-sqlserver unit flow asan demo bench fuzz fuzzers floors \
        clean install tour fmt deps
all: programs standin

# ---- what is built -------------------------------------------------------------------------

objects = $(patsubst %.c,$(B)/obj/%.o,$(1))
sources = $(filter-out %/main.c %/cli_main.c,$(wildcard $(1)/*.c))

COMMON := $(B)/lib/common.a
$(COMMON): $(call objects,$(wildcard common/*.c))

DAEMONS := receiver restore verify console
PROGRAMS := $(DAEMONS:%=$(B)/landfall-%) $(B)/landfall
programs: $(PROGRAMS)

define DAEMON
$(B)/lib/$(1).a: $(call objects,$(call sources,$(1)))
$(B)/landfall-$(1): $(B)/obj/$(1)/main.o $(B)/lib/$(1).a $(COMMON)
endef
$(foreach d,$(DAEMONS),$(eval $(call DAEMON,$(d))))

# The command line lives beside the console, because they share their views.
$(B)/landfall: $(B)/obj/console/cli_main.o $(B)/lib/console.a $(COMMON)

standin: $(B)/landfall-standin $(B)/landfall-sql $(B)/sqlserver-test $(B)/queue-race $(B)/kill_at.so $(B)/clock_at.so
$(B)/lib/standin.a: $(call objects,$(call sources,tests/standin))
$(B)/landfall-standin: $(B)/obj/tests/standin/main.o $(B)/lib/standin.a $(COMMON)

# Runs T-SQL for tests and the demo; not installed.
$(B)/landfall-sql: $(B)/obj/tests/sql/main.o $(COMMON)

# Many workers at one queue, for tests and the bench; not installed.
$(B)/queue-race: $(B)/obj/tests/queue/main.o $(COMMON)

# Asks a real SQL Server what the stand-in is tested with; not installed.
$(B)/sqlserver-test: $(call objects,$(wildcard tests/sqlserver/*.c)) $(B)/lib/standin.a $(COMMON)

# Preloaded by stories; no sanitiser in them, so that they fit into every variant.
$(B)/%_at.so: tests/flow/%_at.c
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) $(if $(WERROR),-Werror) -O2 -fPIC -shared -o $@ $< -ldl

$(PROGRAMS) $(B)/landfall-standin $(B)/landfall-sql $(B)/queue-race $(B)/sqlserver-test:
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LF_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

$(B)/lib/%.a:
	$(call say,AR)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/obj/%.o: %.c
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LF_CFLAGS) $(if $(filter-out tests/standin/%,$(filter tests/%,$<)),,$(COVER)) -MMD -MP -c -o $@ $<

# ---- unit tests: tests/X/Y_test.c proves X/Y.c ---------------------------------------------
# Objects come before archives, so a double compiled into the test wins over the module in the archive.

UNITS := $(patsubst tests/%_test.c,$(B)/tests/%_test,$(wildcard tests/*/*_test.c))
tests: $(UNITS)
TESTHELP := $(B)/lib/testhelp.a
$(TESTHELP): $(call objects,$(filter-out %_test.c,$(wildcard tests/common/*.c)))
$(B)/tests/%_test: $(B)/obj/tests/%_test.o $(TESTHELP) $(DAEMONS:%=$(B)/lib/%.a) $(B)/lib/standin.a $(COMMON)
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LF_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group \
	    $(B)/lib/$(patsubst %/,%,$(dir $*)).a $(filter-out $(B)/lib/$(patsubst %/,%,$(dir $*)).a,$(filter %.a,$^)) \
	    -Wl,--end-group -lcmocka $(LIBS)
.SECONDARY:

# tests/fuzz/X_fuzz.c, a parser's harness: played by `make test`, fuzzed by `make fuzz` (VARIANT=fuzz, clang).
HARNESSES := $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c))
FUZZ_ARCHIVES = -Wl,--start-group $(filter %.a,$^) -Wl,--end-group
$(B)/lib/fuzz.a: $(call objects,$(filter-out tests/fuzz/%_fuzz.c tests/fuzz/replay.c,$(wildcard tests/fuzz/*.c)))
tests: $(HARNESSES:%=$(B)/tests/fuzz/%_replay_test)
fuzzers: $(HARNESSES:%=$(B)/tests/fuzz/%_fuzz) $(HARNESSES:%=$(B)/tests/fuzz/%_replay_test)
$(B)/tests/fuzz/%_replay_test: $(B)/obj/tests/fuzz/%_fuzz.o $(B)/obj/tests/fuzz/replay.o $(B)/lib/fuzz.a $(B)/lib/receiver.a \
                               $(B)/lib/standin.a $(COMMON)
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LF_LDFLAGS) -o $@ $(filter %.o,$^) $(FUZZ_ARCHIVES) $(LIBS)
$(B)/tests/fuzz/%_fuzz: $(B)/obj/tests/fuzz/%_fuzz.o $(B)/lib/fuzz.a $(B)/lib/receiver.a $(B)/lib/standin.a $(COMMON)
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LF_LDFLAGS) -fsanitize=fuzzer -o $@ $(filter %.o,$^) $(FUZZ_ARCHIVES) $(LIBS)

# ---- doing ---------------------------------------------------------------------------------

deps:
	@deploy/install-deps

# Everything below goes through sub-makes, because a fresh machine has no pkg-config until deps has run.
# They build on all cores, unless they were told how many.
CORES = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
test: deps
	@+$(MAKE) $(CORES) --no-print-directory WERROR=1 all tests
	@B=$(B) tests/run

test-long: deps
	@+$(MAKE) $(CORES) --no-print-directory WERROR=1 all tests
	@B=$(B) LONG=1 tests/run

asan: deps
	@+$(MAKE) $(CORES) --no-print-directory VARIANT=asan WERROR=1 all tests
	@B=$(abspath build/asan) tests/run

unit: tests
	@B=$(B) tests/run unit

flow: all
	@B=$(B) tests/run flow

floors:
	@tests/floors

demo: deps
	@+$(MAKE) --no-print-directory all
	@B=$(B) deploy/demo

# Every parser of strangers' bytes under clang's libFuzzer and the sanitisers, FUZZ_SECONDS each; FUZZ names some.
FUZZ_SECONDS ?= 30
fuzz: deps
	@deploy/install-deps fuzz
	@tests/fuzz/run --check
	@+$(MAKE) --no-print-directory VARIANT=fuzz CC=clang fuzzers
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run $(or $(FUZZ),$(HARNESSES))

# What is built for benches; each executable file of tests/bench is one, run in order. A story forges backups with the first.
tests: $(B)/bench/backup_make
BENCHES := $(B)/bench/backup_make $(B)/bench/reader_bench $(B)/bench/delay
benches: $(BENCHES)
$(BENCHES): $(B)/bench/%: $(B)/obj/tests/bench/%.o $(B)/lib/standin.a $(COMMON)
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LF_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

bench: deps
	@+$(MAKE) --no-print-directory all benches
	@+$(MAKE) --no-print-directory VARIANT=unchecked B=$(B)/unchecked all
	@set -e; for b in tests/bench/*; do [ ! -x $$b ] || B=$(B) $$b; done

# Both halves run, whatever the first says.
test-clients: deps
	@deploy/install-deps clients
	@+$(MAKE) --no-print-directory all
	@r=0; for t in run run_tds; do B=$(abspath $(B)) tests/clients/$$t || r=1; done; exit $$r

# The stand-in's rows asked of the server that LANDFALL_SQLSERVER names; says so, and ends with 77, where none is named.
test-sqlserver: deps
	@+$(MAKE) --no-print-directory all
	@B=$(B) tests/sqlserver/run

tour:
	@for h in common/*.h receiver/*.h restore/*.h verify/*.h console/*.h; do \
	   printf '%-28s %s\n' $$h "$$(sed -n '2s/^ \* //p' $$h)"; done

fmt:
	@clang-format -i $$(git ls-files '*.c' '*.h')

PREFIX ?= /usr
install: programs
	install -D -t $(DESTDIR)$(PREFIX)/bin $(B)/landfall
	install -D -t $(DESTDIR)$(PREFIX)/lib/landfall $(DAEMONS:%=$(B)/landfall-%)
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/landfall/schema deploy/schema/*.sql
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/landfall README.md deploy/landfall.example.yaml deploy/checks/*.yaml
	@# A unit names its program and README.md where they are put.
	set -e; for u in $(notdir $(wildcard deploy/systemd/*)); do sed 's#/usr/\(lib\|share\)/#$(PREFIX)/\1/#' deploy/systemd/$$u | \
	    install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/lib/systemd/system/$$u; done

clean:
	rm -rf build

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
