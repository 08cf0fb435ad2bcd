#include "receiver/penalty.h"

/* since: from when on it is being forgotten, the end of the last shut-out. level 0: the place is free. */
struct offender { struct address network; unsigned level; int64_t since; };

struct penalties {
	struct penalty_rule rule;
	struct offender offenders[PENALTY_NETWORKS];
};

struct penalties *
penalties_new(TALLOC_CTX *parent, const struct penalty_rule *rule)
{
	struct penalties *p = talloc_zero(parent, struct penalties);

	p->rule = *rule;
	return p;
}

static unsigned
level_at(const struct penalties *p, const struct offender *o, int64_t now)
{
	int64_t forgotten = now <= o->since ? 0 : (now - o->since) / p->rule.forget_seconds;

	return forgotten >= o->level ? 0 : o->level - (unsigned)forgotten;
}

static unsigned
seconds_of(const struct penalty_rule *rule, unsigned level)
{
	unsigned seconds = rule->first_seconds;

	if (level <= rule->free)
		return 0;
	for (unsigned i = rule->free + 1; i < level && seconds < rule->most_seconds; i++)
		seconds *= 2;
	return seconds < rule->most_seconds ? seconds : rule->most_seconds;
}

/* From end to end: 4,096 compares of 16 bytes cost some microseconds, and there is no hash whose collisions could be aimed at. */
static const struct offender *
find(const struct penalties *p, const struct address *network)
{
	for (unsigned i = 0; i < PENALTY_NETWORKS; i++)
		if (p->offenders[i].level > 0 && address_is_same(&p->offenders[i].network, network))
			return &p->offenders[i];
	return NULL;
}

/* The least of them, and of the least the one that is longest ago. */
static unsigned
place_for_another(const struct penalties *p, int64_t now)
{
	unsigned least = 0, least_level = level_at(p, &p->offenders[0], now);

	for (unsigned i = 1; i < PENALTY_NETWORKS && least_level > 0; i++) {
		unsigned level = level_at(p, &p->offenders[i], now);

		if (level < least_level || (level == least_level && p->offenders[i].since < p->offenders[least].since)) {
			least = i;
			least_level = level;
		}
	}
	return least;
}

unsigned
penalties_failed(struct penalties *p, const struct address *address, int64_t now)
{
	struct address network = address_network(address);
	const struct offender *known = find(p, &network);
	struct offender *o = &p->offenders[known == NULL ? place_for_another(p, now) : (unsigned)(known - p->offenders)];
	unsigned level = known == NULL ? 0 : level_at(p, o, now), seconds;

	if (known != NULL && now < o->since)
		return 0;
	seconds = seconds_of(&p->rule, level + 1);
	/* Beyond the longest there is nothing to grow to, only to forget. */
	if (seconds_of(&p->rule, level) < p->rule.most_seconds)
		level++;
	*o = (struct offender){ network, level, now + seconds };
	return seconds;
}

bool
penalties_forgive(struct penalties *p, const struct address *address)
{
	struct address network = address_network(address);
	const struct offender *known = find(p, &network);

	if (known != NULL)
		p->offenders[known - p->offenders] = (struct offender){ .level = 0 };
	return known != NULL;
}

unsigned
penalties_wait(const struct penalties *p, const struct address *address, int64_t now)
{
	struct address network = address_network(address);
	const struct offender *o = find(p, &network);

	return o == NULL || now >= o->since ? 0 : (unsigned)(o->since - now);
}
