tests        += $(wildcard test/unit/*/test_*.c)
sims         := $(wildcard test/sim/test_*.c)
sim.src      := $(notdir $(filter-out $(wildcard test/sim/test_*.c),$(wildcard test/sim/*.c)))
test_scripts := $(sort $(wildcard test/failover/*.ft) $(wildcard test/conformance/*.ft))
