/*
 * landfall-receiver: the SFTP endpoint. Started again by itself as "--spawner" with fd 3 to the warden.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/config.h"
#include "common/log.h"
#include "receiver/spawner.h"
#include "receiver/warden.h"

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' }, { "ready-file", required_argument, NULL, 'r' }, { "help", no_argument, NULL, 'h' }, { 0 },
};

int
main(int argc, char **argv)
{
	const char *path = NULL, *ready = NULL;
	struct config *config;
	struct err err = { 0 };
	int opt;

	log_begin("landfall-receiver");
	if (argc > 1 && strcmp(argv[1], "--spawner") == 0)
		return spawner_main(3, argv + 2, (size_t)(argc - 2));
	while ((opt = getopt_long(argc, argv, "c:r:h", options, NULL)) != -1) {
		if (opt == 'c')
			path = optarg;
		else if (opt == 'r')
			ready = optarg;
		else {
			fprintf(opt == 'h' ? stdout : stderr, "usage: landfall-receiver [--config FILE] [--ready-file FILE]\n");
			return opt == 'h' ? 0 : 2;
		}
	}
	config = config_load(NULL, path, &err);
	if (config == NULL) {
		log_error("cannot start", "error", err.text, NULL);
		return 1;
	}
	return warden_main(config, ready);
}
