// The program of the board's sample machine: it uses every device the battery should see in
// mid-flight. Two harts, timer and external interrupts, the UART, virtio entropy, block, net, balloon.
//
// Built by (the result is kept beside it, so that no cross compiler is needed to test):
// riscv64-linux-gnu-gcc -march=rv64gc -mabi=lp64d -mcmodel=medany -O2 -ffreestanding -nostdlib \
//   -static -fno-pic -Wl,-Ttext=0x80000000,--build-id=none,-z,norelro,-N,--no-relax -s -o sample.elf sample.c
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define R8(at) (*(volatile u8 *)(at))
#define R32(at) (*(volatile u32 *)(at))
#define R64(at) (*(volatile u64 *)(at))
#define UART 0x10000000ul
#define MTIME 0x0200bff8ul
#define MTIMECMP 0x02004000ul
#define MSIP 0x02000000ul
#define PLIC 0x0c000000ul
#define RNG 0x10001000ul
#define NET 0x10003000ul
#define DISK 0x10004000ul
#define BALLOON 0x10005000ul
#define PAGES ((volatile u64 *)0x80400000ul)

__attribute__((naked, section(".text.entry"))) void _start(void) {
  __asm__("li sp, 0x80300000\n slli t0, a0, 14\n sub sp, sp, t0\n la t0, handler\n"
          "csrw mtvec, t0\n j main\n");
}

struct desc { u64 at; u32 len; u16 flags, next; };
struct queue {
  struct desc desc[8];
  struct { u16 flags, idx, ring[8], event; } avail;
  struct { u16 flags, idx; struct { u32 id, len; } ring[8]; u16 event; } used;
  u16 seen;
} __attribute__((aligned(64)));

static struct queue rng, disk, rx, tx, inflate, report;
static volatile u64 timer_ticks, external, shared;
static volatile u8 sector[1024], header[16], status, frames[4][2048], frame[2048];
static volatile u64 entropy[2];
static volatile u32 numbers[2];

static void put(u8 c) { while (!(R8(UART + 5) & 0x20)); R8(UART) = c; }
static void hex(u64 v) { for (int i = 0; i < 4; i++) { u8 d = v >> (i * 4) & 15; put(d < 10 ? '0' + d : 'a' + d - 10); } }

static void queue_up(u64 base, int n, struct queue *q) {
  R32(base + 0x30) = n;
  R32(base + 0x38) = 8;
  R32(base + 0x80) = (u64)q->desc; R32(base + 0x84) = (u64)q->desc >> 32;
  R32(base + 0x90) = (u64)&q->avail; R32(base + 0x94) = (u64)&q->avail >> 32;
  R32(base + 0xa0) = (u64)&q->used; R32(base + 0xa4) = (u64)&q->used >> 32;
  R32(base + 0x44) = 1;
}
static void device_up(u64 base, u32 low) {
  R32(base + 0x70) = 0;
  R32(base + 0x70) = 3;
  R32(base + 0x24) = 1; R32(base + 0x20) = 1;
  R32(base + 0x24) = 0; R32(base + 0x20) = low;
  R32(base + 0x70) = 11;
}
static void offer(u64 base, int n, struct queue *q, u16 head) {
  q->avail.ring[q->avail.idx & 7] = head;
  __asm__ volatile("fence" ::: "memory");
  q->avail.idx++;
  __asm__ volatile("fence" ::: "memory");  // the index before the bell
  R32(base + 0x50) = n;
}

__attribute__((interrupt("machine"), aligned(4), used)) void handler(void) {
  u64 cause, hart;
  __asm__ volatile("csrr %0, mcause\n csrr %1, mhartid" : "=r"(cause), "=r"(hart));
  if (cause == (1ul << 63 | 7)) {
    timer_ticks++;
    R64(MTIMECMP + 8 * hart) = R64(MTIME) + 3 + (timer_ticks & 3);
  } else if (cause == (1ul << 63 | 11)) {
    u32 id = R32(PLIC + 0x200004);
    external += id;
    while (id == 10 && R8(UART + 5) & 1) { u8 c = R8(UART); external += c; put(c ^ 1); }
    for (u64 base = RNG; base <= BALLOON; base += 0x1000) { u32 s = R32(base + 0x60); if (s) R32(base + 0x64) = s; }
    R32(PLIC + 0x200004) = id;
  } else if (cause == (1ul << 63 | 3)) {
    R32(MSIP + 4 * hart) = 0;
  } else {
    put('!');
    R32(0x100000) = 0x13333;
  }
}

static void second(void) {
  u64 x = 7;
  __asm__ volatile("csrs mie, %0\n csrsi mstatus, 8" ::"r"(8ul));
  for (;;) {
    for (int i = 0; i < 300; i++) {
      x = x * 6364136223846793005ul + 1442695040888963407ul;
      PAGES[(x >> 40 & 31) * 512 + (x >> 50 & 511)] += x;
      __atomic_fetch_add(&shared, x >> 60, __ATOMIC_RELAXED);
    }
    __asm__ volatile("wfi");
  }
}

static void disk_request(u32 type, u64 at) {
  *(volatile u32 *)header = type; *(volatile u64 *)(header + 8) = at;
  disk.desc[0] = (struct desc){(u64)header, 16, 1, type == 4 ? 2 : 1};
  disk.desc[1] = (struct desc){(u64)sector, 512, type == 0 ? 3 : 1, 2};
  disk.desc[2] = (struct desc){(u64)&status, 1, 2, 0};
  offer(DISK, 0, &disk, 0);
}

// Gives pages back that both harts write: two by a report, two by number.
static void give_back(u64 page) {
  report.desc[0] = (struct desc){(u64)PAGES + page * 4096, 8192, 2, 0};
  offer(BALLOON, 2, &report, 0);
  numbers[0] = ((u64)PAGES >> 12) + (page ^ 5);
  numbers[1] = ((u64)PAGES >> 12) + (page ^ 9);
  inflate.desc[0] = (struct desc){(u64)numbers, 8, 0, 0};
  offer(BALLOON, 0, &inflate, 0);
}

static double half = 0.5;

void main(u64 hart) {
  if (hart) second();
  for (u64 id = 1; id < 12; id++) R32(PLIC + 4 * id) = 1;
  R32(PLIC + 0x2000) = 0xfff;
  device_up(RNG, 0); queue_up(RNG, 0, &rng); R32(RNG + 0x70) = 15;
  device_up(DISK, 1 << 9); queue_up(DISK, 0, &disk); R32(DISK + 0x70) = 15;
  device_up(NET, 0); queue_up(NET, 0, &rx); queue_up(NET, 1, &tx); R32(NET + 0x70) = 15;
  // Page reporting without statistics: the queue of reports is the third.
  device_up(BALLOON, 1 << 5); queue_up(BALLOON, 0, &inflate); queue_up(BALLOON, 2, &report); R32(BALLOON + 0x70) = 15;
  for (int i = 0; i < 4; i++) { rx.desc[i] = (struct desc){(u64)frames[i], 2048, 2, 0}; offer(NET, 0, &rx, i); }
  R64(MTIMECMP) = R64(MTIME) + 5;
  R8(UART + 2) = 1; R8(UART + 1) = 1;
  __asm__ volatile("csrs mstatus, %2\n csrs mie, %0\n csrsi mstatus, 8\n fcvt.d.l f0, %1" ::"r"(0x880ul), "r"(1ul), "r"(0x2000ul));
  u64 x = 88172645463325252ul, rounds = 0;
  double f = 1.5;
  int busy = 0;
  for (;;) {
    rounds++;
    x ^= x << 13; x ^= x >> 7; x ^= x << 17;
    PAGES[(x >> 20 & 63) * 512 + (x & 511)] ^= x;
    f = f * 1.0000001 + half;
    x += external;
    if (rng.seen != *(volatile u16 *)&rng.used.idx) { rng.seen++; x ^= entropy[0]; hex(x); }
    if (rounds % 512 == 0) { rng.desc[0] = (struct desc){(u64)entropy, 16, 2, 0}; offer(RNG, 0, &rng, 0); }
    if (busy && disk.seen != *(volatile u16 *)&disk.used.idx) { disk.seen++; busy = 0; x += status + sector[3]; put('d' + status); }
    if (!busy && rounds % 301 == 0) {
      u32 type = (u32[]){1, 4, 0, 4}[rounds / 301 & 3];
      for (int i = 0; i < 512; i += 8) *(volatile u64 *)(sector + i) = x + i;
      disk_request(type, x >> 30 & 1023);
      busy = 1;
    }
    if (rx.seen != *(volatile u16 *)&rx.used.idx) {
      u16 id = rx.used.ring[rx.seen++ & 7].id;
      for (int i = 0; i < 64; i++) x += frames[id][i];
      for (int i = 0; i < 76; i++) frame[i] = frames[id][i];
      offer(NET, 0, &rx, id);
      tx.desc[0] = (struct desc){(u64)frame, 76, 0, 0};
      offer(NET, 1, &tx, 0);
    }
    if (rounds % 401 == 0) give_back(x >> 9 & 31);
    if (rounds % 97 == 0) R32(MSIP + 4) = 1;
    if (rounds % 700 == 0) { hex(x + shared + timer_ticks + external + (u64)f); put('\n'); }
    if (rounds % 1000 == 0) __asm__ volatile("wfi");
    if (rounds == 100000) R32(0x100000) = 0x5555;
  }
}
