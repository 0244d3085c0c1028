/* Runs LLVMFuzzerTestOneInput over every file of the folders (or the files) given as arguments: the
 * main program of fuzz targets that are built without libFuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = malloc(1 << 20), *exact;
	size_t n;

	if (!f || !data) {
		perror(path);
		return 1;
	}
	n = fread(data, 1, 1 << 20, f);
	fclose(f);
	/* exactly as large as the input, so that a sanitizer sees a read behind it */
	exact = realloc(data, n ? n : 1);
	if (!exact) {
		free(data);
		return 1;
	}
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	return 0;
}

static int replay_folder(const char *path, unsigned *files)
{
	struct dirent *entry;
	char name[4096];
	DIR *dir = opendir(path);
	int rc = 0;

	if (!dir) {
		perror(path);
		return 1;
	}
	while ((entry = readdir(dir)) && !rc) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		rc = replay_file(name);
		++*files;
	}
	closedir(dir);
	return rc;
}

int main(int argc, char **argv)
{
	unsigned files = 0;

	for (int i = 1; i < argc; i++) {
		struct stat st;
		int folder = !stat(argv[i], &st) && S_ISDIR(st.st_mode);

		if (folder ? replay_folder(argv[i], &files) : replay_file(argv[i]))
			return 1;
		files += !folder;
	}
	printf("%u inputs\n", files);
	return files == 0;
}
