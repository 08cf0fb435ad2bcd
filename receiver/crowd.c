#include "receiver/crowd.h"

static size_t
count(const struct address *networks, size_t n, const struct address *one)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++)
		found += address_is_same(&networks[i], one);
	return found;
}

enum crowd_answer
crowd_ask(const struct crowd_limits *limits, const struct address *networks, size_t n, const struct address *newcomer, bool is_exempt,
          size_t *leaves)
{
	size_t own = count(networks, n, newcomer), most = 0;

	if (!is_exempt && own >= limits->per_network)
		return CROWD_ITS_SHARE;
	if (n < limits->all)
		return CROWD_COME;
	/* The first of the greatest network is its oldest. */
	for (size_t i = 0; i < n; i++) {
		size_t held = count(networks, n, &networks[i]);

		if (held > most) {
			most = held;
			*leaves = i;
		}
	}
	return most > own ? CROWD_INSTEAD : CROWD_FULL;
}
