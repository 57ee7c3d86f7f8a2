/* Counts heap allocations of the worker threads (named "weir-worker...") of the program it is preloaded into (LD_PRELOAD), in the eight bytes of the
   file $WEIR_COUNT_MALLOC, so that a test can read them while the program runs. glibc's own entry points do the work. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_ulong nowhere;
static atomic_ulong *count = &nowhere;

static void count_one(void) {
  char name[16] = "";
  if (prctl(PR_GET_NAME, name) == 0 && strncmp(name, "weir-worker", 11) == 0) atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
}

__attribute__((constructor)) static void open_counter(void) {
  const char *path = getenv("WEIR_COUNT_MALLOC");
  int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
  if (fd < 0) return;
  if (ftruncate(fd, sizeof *count) == 0) {
    void *page = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) count = page;
  }
  close(fd);
}

void *malloc(size_t size) { count_one(); return __libc_malloc(size); }
void *calloc(size_t n, size_t size) { count_one(); return __libc_calloc(n, size); }
void *realloc(void *old, size_t size) { count_one(); return __libc_realloc(old, size); }
void *memalign(size_t alignment, size_t size) { count_one(); return __libc_memalign(alignment, size); }
void *aligned_alloc(size_t alignment, size_t size) { count_one(); return __libc_memalign(alignment, size); }
int posix_memalign(void **out, size_t alignment, size_t size) {
  count_one();
  *out = __libc_memalign(alignment, size);
  return *out ? 0 : ENOMEM;
}
