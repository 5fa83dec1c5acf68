# weir: one non-recursive build. Sources are found by wildcard, so a new file needs no edit here.
#
#   make            build into build/$(VARIANT)/ and link to bin/
#   make run        install what is missing, build, start the demo in the foreground
#   make test       install what is missing, build, run every test
#   make help       the other targets

AREAS    := tlsd routerd healthd cachectl proxyctl
PROGRAMS := $(patsubst %/main.c,%,$(wildcard $(AREAS:%=%/main.c)))
VARIANT ?= release
B       := build/$(VARIANT)
PREFIX  ?= /usr/local
VERSION := 0.1.0
JOBS    ?= $(shell nproc 2>/dev/null || echo 1)

CC      ?= cc
CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual \
           -Wwrite-strings -Wformat=2 -Wundef -Wvla
# the sockets API reads one address as several structs: no-strict-aliasing
HARDEN  := -fno-common -fno-strict-aliasing -fstack-protector-strong -fPIE -D_FORTIFY_SOURCE=2
LDHARD  := -pie -Wl,-z,relro,-z,now
SAN.release :=
SAN.san     := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -U_FORTIFY_SOURCE
SAN.tsan    := -fsanitize=thread -fno-omit-frame-pointer -U_FORTIFY_SOURCE
SANFLAGS := $(SAN.$(VARIANT))

PC      := libevent_core openssl yaml-0.1 nanomsg jansson libcares libnghttp2
PCFLAGS := $(shell pkg-config --cflags $(PC) 2>/dev/null)
ALLFLAGS = -std=gnu11 -D_GNU_SOURCE -I. -DWEIR_VERSION='"$(VERSION)"' $(WARN) $(HARDEN) $(PCFLAGS) \
           $(if $(WERROR),-Werror) $(CFLAGS) $(SANFLAGS) $(CPPFLAGS) -MMD -MP
pclibs   = $(shell pkg-config --libs $(1) 2>/dev/null)
LIBS.common   := libevent_core yaml-0.1 jansson nanomsg
LIBS.tlsd     := $(LIBS.common) openssl
LIBS.routerd  := $(LIBS.common) libcares libcrypto libnghttp2
LIBS.healthd  := $(LIBS.common) libcares libcrypto libnghttp2
LIBS.cachectl := $(LIBS.common)
LIBS.proxyctl := $(LIBS.common) libcrypto
LIBS.libcommon := $(LIBS.common) libcares libcrypto
# What only an area's tests need: OpenSSL's TLS as the peer of our record layer.
UNIT_LIBS.libcommon := openssl

.PHONY: FORCE all tools help deps deps-build deps-test run test unit bats replay san tsan fuzz bench bench-storm ktls lint install clean
.DEFAULT_GOAL := all
.SECONDARY:

all: $(PROGRAMS:%=bin/%)

help:
	@sed -n 's/^#   //p' Makefile; echo; \
	 echo 'deps  unit  bats  replay  san  tsan  lint  bench  bench-storm  ktls  install DESTDIR= PREFIX=  clean'; \
	 echo 'fuzz FUZZ=name TIME=60: one of' $(notdir $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c)))

# --- objects and programs -----------------------------------------------------------------------
objs = $(patsubst %.c,$(B)/%.o,$(wildcard $(1)/*.c))
COMMON_A := $(B)/libcommon.a

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALLFLAGS) -c -o $@ $<

$(COMMON_A): $(call objs,libcommon)
	@rm -f $@
	ar rcs $@ $^

# What a program is made of without its main, so that its modules can be tested alone.
define archive
$(B)/$(1).a: $$(filter-out $(B)/$(1)/main.o,$$(call objs,$(1)))
	@mkdir -p $$(@D); rm -f $$@
	ar rcs $$@ $$^
endef
define program
$(B)/bin/$(1): $(B)/$(1)/main.o $(B)/$(1).a $(COMMON_A)
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$(SANFLAGS) $$(LDHARD) $$(LDFLAGS) -o $$@ $$^ $$(call pclibs,$(LIBS.$(1))) -pthread -lm
endef
$(foreach p,$(AREAS),$(eval $(call archive,$(p))))
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))
# Always: the links are of the variant that was built last.
bin/%: $(B)/bin/% FORCE
	@mkdir -p bin
	@ln -sf ../$< $@

# --- tests: tests/unit/AREA/test_x.c is linked with AREA's modules --------------------------------
UNITS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/*/test_*.c))
unit_area = $(word 1,$(subst /, ,$(1)))
define unit_rule
$(B)/unit/$(1): $(B)/tests/unit/$(1).o $(if $(filter libcommon,$(call unit_area,$(1))),,$(B)/$(call unit_area,$(1)).a) $(COMMON_A)
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$(SANFLAGS) $$(LDHARD) $$(LDFLAGS) -o $$@ $$^ $$(call pclibs,$$(LIBS.$(call unit_area,$(1))) $$(UNIT_LIBS.$(call unit_area,$(1))) cmocka) -pthread -lm
endef
$(foreach u,$(UNITS:$(B)/unit/%=%),$(eval $(call unit_rule,$(u))))

# --- fuzzers: libFuzzer with clang, with tests/fuzz/NAME.dict where there is one; the same file plus
# replay.c reads its corpus in `make test` ---
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAYS := $(FUZZERS:%=$(B)/replay/%)
fuzz_area = $(or $(shell sed -n 's/^\/\* area: \([a-z]*\) \*\//\1/p' tests/fuzz/fuzz_$(1).c),libcommon)
define replay_rule
$(B)/replay/$(1): $(B)/tests/fuzz/fuzz_$(1).o $(B)/tests/fuzz/replay.o $(if $(filter libcommon,$(call fuzz_area,$(1))),,$(B)/$(call fuzz_area,$(1)).a) $(COMMON_A)
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$(SANFLAGS) $$(LDHARD) -o $$@ $$^ $$(call pclibs,$$(LIBS.$(call fuzz_area,$(1)))) -pthread -lm
endef
$(foreach f,$(FUZZERS),$(eval $(call replay_rule,$(f))))

TIME ?= 60
fuzz:
	@test -n "$(FUZZ)" || { echo 'usage: make fuzz FUZZ=name TIME=60, name one of: $(FUZZERS)'; exit 2; }
	@mkdir -p build/fuzz tests/corpus/$(FUZZ)
	clang -std=gnu11 -D_GNU_SOURCE -I. -DWEIR_VERSION='"$(VERSION)"' $(PCFLAGS) -O1 -g -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined -o build/fuzz/$(FUZZ) tests/fuzz/fuzz_$(FUZZ).c $(wildcard libcommon/*.c) \
	    $(if $(filter libcommon,$(call fuzz_area,$(FUZZ))),,$(filter-out %/main.c,$(wildcard $(call fuzz_area,$(FUZZ))/*.c))) \
	    $(call pclibs,$(LIBS.$(call fuzz_area,$(FUZZ))) libcares libcrypto) -pthread -lm
	@mkdir -p build/fuzz/$(FUZZ).corpus
	build/fuzz/$(FUZZ) -max_total_time=$(TIME) -rss_limit_mb=2048 -artifact_prefix=build/fuzz/ \
	    $(patsubst %,-dict=%,$(wildcard tests/fuzz/$(FUZZ).dict)) \
	    build/fuzz/$(FUZZ).corpus tests/corpus/$(FUZZ)

unit: $(UNITS)
	@tests/tools/run-units $(UNITS)
replay: $(REPLAYS)
	@tests/tools/run-replays $(REPLAYS)
# Programs that only tests use: tests/tools/x.c becomes $(B)/tools/x.
TEST_TOOLS := $(patsubst tests/tools/%.c,$(B)/tools/%,$(wildcard tests/tools/*.c))
$(B)/tools/%: $(B)/tests/tools/%.o $(COMMON_A)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SANFLAGS) $(LDHARD) $(LDFLAGS) -o $@ $^ $(call pclibs,$(LIBS.libcommon)) -pthread -lm
tools: $(TEST_TOOLS)
bats: all tools
	@BUILD=$(B) tests/tools/run-bats $(BATS)
test: deps-test
	@$(MAKE) --no-print-directory -j$(JOBS) all tools
	@BUILD=$(B) tests/tools/run-all
san:
	@$(MAKE) --no-print-directory VARIANT=san CFLAGS='-O1 -g' test
tsan:
	@$(MAKE) --no-print-directory VARIANT=tsan CFLAGS='-O1 -g' test

# --- everything else ------------------------------------------------------------------------------
deps: deps-build deps-test
deps-build:
	@tests/tools/deps build
deps-test:
	@tests/tools/deps build test
run: deps-build
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@exec bin/proxyctl -c examples/demo.yaml up
# Kernel TLS in the kernels of these packages, in qemu: tests/ktls.
KERNELS ?= linux-image-amd64
ktls: all tools $(B)/unit/libcommon/test_stream_ktls
	@tests/tools/deps build test ktls
	@BUILD=$(B) tests/ktls/run $(KERNELS)
bench-storm: all
	@tests/tools/deps build test bench
	@WORKERS=2 SECS=3 tests/bench/run storm
bench: all
	@tests/tools/deps build test bench
	@tests/bench/run
lint:
	@tests/tools/deps build lint
	@$(MAKE) --no-print-directory all
	@tests/tools/lint
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man8 $(DESTDIR)$(PREFIX)/share/man/man5 \
	    $(DESTDIR)$(PREFIX)/share/man/man7 \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/doc/weir/examples
	for p in $(PROGRAMS); do install -m 755 $(B)/bin/$$p $(DESTDIR)$(PREFIX)/bin/$$p; done
	install -m 644 $(wildcard */*.8) $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 644 $(wildcard libcommon/*.5) $(DESTDIR)$(PREFIX)/share/man/man5
	install -m 644 $(wildcard libcommon/*.7) $(DESTDIR)$(PREFIX)/share/man/man7
	install -m 644 proxyctl/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/proxyctl
	install -m 644 examples/*.yaml $(DESTDIR)$(PREFIX)/share/doc/weir/examples
clean:
	rm -rf build bin

-include $(shell find build -name '*.d' 2>/dev/null)
