// What harts that run side by side must be to each other: atomic operations, reservations, the
// order of accesses, code and page tables that another hart writes, interrupts between harts.
// Ends by the syscon: well, or with the number of what failed.
//
// The test puts the number of harts at 0x80f00000 and that of rounds at 0x80f00008.
//
// Built by (the result is kept beside it, so that no cross compiler is needed to test):
// riscv64-linux-gnu-gcc -march=rv64gc -mabi=lp64d -mcmodel=medany -O2 -ffreestanding -nostdlib \
//   -static -fno-pic -Wl,-Ttext=0x80000000,--build-id=none,-z,norelro,-N,--no-relax -s -o litmus.elf litmus.c
typedef unsigned int u32;
typedef unsigned long u64;

#define SYSCON (*(volatile u32 *)0x100000ul)
#define MSIP ((volatile u32 *)0x02000000ul)
#define HARTS (*(volatile u64 *)0x80f00000ul)
#define ROUNDS (*(volatile u64 *)0x80f00008ul)
#define APART __attribute__((aligned(64)))

__attribute__((naked, section(".text.entry"))) void _start(void) {
  __asm__("li sp, 0x80e00000\n slli t0, a0, 16\n sub sp, sp, t0\n j main\n");
}

static void fail(u64 what) { for (;;) SYSCON = 0x3333 | what << 16; }
static void check(int good, u64 what) { if (!good) fail(what); }
static void full(void) { __asm__ volatile("fence rw,rw" ::: "memory"); }

static u64 add(volatile u64 *at, u64 by) {
  u64 old;
  __asm__ volatile("amoadd.d.aqrl %0, %2, (%1)" : "=r"(old) : "r"(at), "r"(by) : "memory");
  return old;
}

static volatile u64 arrived APART, opened APART;

// All harts come here before one goes on.
static void meet(void) {
  u64 now = opened;
  if (add(&arrived, 1) == HARTS - 1) {
    arrived = 0;
    full();
    opened = now + 1;
  } else {
    while (opened == now);
  }
  full();
}

// Counters that every hart changes, each in another way.
static volatile u64 sums[16] APART;
static volatile u32 words[16] APART;

static void count(u64 hart) {
  for (u64 i = 0; i < ROUNDS; i++) {
    u64 x, y, one = 1;
    add(&sums[0], 1);
    __asm__ volatile("amoadd.w zero, %1, (%0)" :: "r"(&words[0]), "r"(one) : "memory");
    // Nothing but registers between.
    __asm__ volatile("1: lr.d %0, (%2)\n addi %0, %0, 1\n sc.d %1, %0, (%2)\n bnez %1, 1b"
                     : "=&r"(x), "=&r"(y) : "r"(&sums[1]) : "memory");
    __asm__ volatile("1: lr.w.aqrl %0, (%2)\n addi %0, %0, 1\n sc.w.rl %1, %0, (%2)\n bnez %1, 1b"
                     : "=&r"(x), "=&r"(y) : "r"(&words[1]) : "memory");
    // Another load between.
    __asm__ volatile("1: lr.d %0, (%2)\n ld %1, 0(%3)\n addi %0, %0, 1\n sc.d %1, %0, (%2)\n bnez %1, 1b"
                     : "=&r"(x), "=&r"(y) : "r"(&sums[2]), "r"(&sums[8]) : "memory");
    // A way out between, to another store.
    __asm__ volatile("1: lr.d %0, (%2)\n andi %1, %0, 1\n addi %0, %0, 1\n bnez %1, 2f\n"
                     "sc.d %1, %0, (%2)\n bnez %1, 1b\n j 3f\n"
                     "2: sc.d %1, %0, (%2)\n bnez %1, 1b\n 3:"
                     : "=&r"(x), "=&r"(y) : "r"(&sums[3]) : "memory");
    // Each hart flips its own bit twice, by different operations.
    __asm__ volatile("amoxor.d zero, %1, (%0)" :: "r"(&sums[4]), "r"(1ul << hart) : "memory");
    __asm__ volatile("amoxor.w zero, %1, (%0)" :: "r"(&sums[4]), "r"(1ul << hart) : "memory");
    __asm__ volatile("amoor.d %0, %2, (%1)" : "=r"(x) : "r"(&sums[5]), "r"(1ul << hart) : "memory");
    check(!(x >> hart & 1), 10);
    __asm__ volatile("amoand.d %0, %2, (%1)" : "=r"(x) : "r"(&sums[5]), "r"(~(1ul << hart)) : "memory");
    check(x >> hart & 1, 11);
    __asm__ volatile("amomaxu.d zero, %1, (%0)" :: "r"(&sums[6]), "r"(i * 8 + hart) : "memory");
    __asm__ volatile("amomin.w zero, %1, (%0)" :: "r"(&words[2]), "r"(-(i * 8 + hart)) : "memory");
    // What a swap takes out was put in by another, and goes back in.
    __asm__ volatile("amoswap.d %0, %1, (%2)" : "=&r"(x) : "r"(0), "r"(&sums[7]) : "memory");
    if (x) add(&sums[7], x);
  }
}

static void counted(void) {
  u64 all = HARTS * ROUNDS, most = (ROUNDS - 1) * 8 + HARTS - 1;
  for (int i = 0; i < 4; i++) check(sums[i] == all, 20 + i);
  check(words[0] == (u32)all && words[1] == (u32)all, 24);
  check(sums[4] == 0 && sums[5] == 0, 25);
  check(sums[6] == most && words[2] == (u32)-most, 26);
  check(sums[7] == 1000, 27);
}

// A stack of nodes, whose top goes from A to B and back to A between another's load and store.
struct node { struct node *next; volatile u64 owner; } APART;
static struct node nodes[4];
static struct node *volatile top APART;

static struct node *pop(void) {
  struct node *node, *next;
  u64 lost;
  __asm__ volatile("1: lr.d.aqrl %0, (%3)\n beqz %0, 2f\n ld %1, 0(%0)\n sc.d.aqrl %2, %1, (%3)\n"
                   "bnez %2, 1b\n 2:"
                   : "=&r"(node), "=&r"(next), "=&r"(lost) : "r"(&top) : "memory");
  return node;
}

static void push(struct node *node) {
  u64 lost;
  do {
    struct node *old = top, *seen;
    node->next = old;
    full();
    __asm__ volatile("1: lr.d.aqrl %0, (%2)\n bne %0, %3, 2f\n sc.d.aqrl %1, %4, (%2)\n j 3f\n 2: li %1, 1\n 3:"
                     : "=&r"(seen), "=&r"(lost) : "r"(&top), "r"(old), "r"(node) : "memory");
  } while (lost);
}

static void stack(u64 hart) {
  for (u64 i = 0; i < ROUNDS; i++) {
    struct node *one = pop(), *two = pop();
    if (one) check(add(&one->owner, 1) == 0, 30);
    if (two) check(add(&two->owner, 1) == 0, 31);
    check(!one || one != two, 32);
    if (one) { add(&one->owner, -1); push(one); }
    if (two) { add(&two->owner, -1); push(two); }
  }
}

// Two harts store each to its own and then load the other's: one of them sees the other's store.
static volatile u64 mine[2] APART, theirs[2] APART;
static volatile u64 *const place[2] = {&mine[0], &theirs[0]};
static volatile u64 saw[2] APART;

static void order(u64 hart) {
  for (u64 i = 1; i <= ROUNDS; i++) {
    meet();
    if (hart < 2) {
      *place[hart] = i;
      full();
      saw[hart] = *place[1 - hart];
    }
    meet();
    if (hart == 0) check(saw[0] == i || saw[1] == i, 40);
  }
}

// What was stored before a flag is seen by whoever sees the flag, in a great many pages.
static volatile u64 flag APART;
#define DATA ((volatile u64 *)0x80800000ul)

static void pass(u64 hart) {
  for (u64 i = 1; i <= ROUNDS; i++) {
    volatile u64 *data = DATA + i % 64 * 512 + i % 7;
    if (hart == 0) {
      *data = i;
      __asm__ volatile("fence w,w" ::: "memory");
      flag = i;
    } else {
      while (flag < i);
      __asm__ volatile("fence r,r" ::: "memory");
      check(*data == i, 50);
    }
    meet();
  }
}

// Code that another hart writes is the new one after both fences.
static u32 code[1024] __attribute__((aligned(4096)));

static void rewrite(u64 hart) {
  for (u64 i = 0; i < ROUNDS; i++) {
    u32 k = i % 2000;
    if (hart == i % HARTS) {
      code[0] = k << 20 | 10 << 7 | 0x13;  // li a0, k
      code[1] = 0x00008067;                // ret
      full();
    }
    meet();
    __asm__ volatile("fence.i" ::: "memory");
    for (int again = 0; again < 3; again++) {
      check(((u64 (*)(void))code)() == k, 60);
    }
    meet();
  }
}

// A page that is mapped elsewhere by another hart is there after the fence.
static u64 root[512] __attribute__((aligned(4096))), leaf[512] __attribute__((aligned(4096))),
    middle[512] __attribute__((aligned(4096))), pages[2][512] __attribute__((aligned(4096)));

static u64 load_mapped(void) {
  // By the tables of S-mode, in M-mode: MPRV with MPP = S.
  u64 value, bits = 1ul << 17 | 1ul << 11;
  __asm__ volatile("csrs mstatus, %1\n ld %0, 0(%2)\n csrc mstatus, %1"
                   : "=&r"(value) : "r"(bits), "r"(0x1000ul) : "memory");
  return value;
}

static void remap(u64 hart) {
  if (hart == 0) {
    root[0] = (u64)middle >> 12 << 10 | 1;
    middle[0] = (u64)leaf >> 12 << 10 | 1;
    leaf[1] = (u64)pages[0] >> 12 << 10 | 0xcf;
    pages[0][0] = 100;
    pages[1][0] = 101;
  }
  meet();
  u64 open = 0x1f, all = -1ul;
  __asm__ volatile("csrw pmpaddr0, %0\n csrw pmpcfg0, %1\n csrw satp, %2\n sfence.vma"
                   :: "r"(all >> 10), "r"(open), "r"(8ul << 60 | (u64)root >> 12) : "memory");
  for (u64 i = 0; i < ROUNDS; i++) {
    if (hart == i % HARTS) {
      leaf[1] = (u64)pages[i & 1] >> 12 << 10 | 0xcf;
      full();
    }
    meet();
    __asm__ volatile("sfence.vma" ::: "memory");
    check(load_mapped() == 100 + (i & 1), 70);
    meet();
  }
}

// Interrupts go round, while all others wait.
static volatile u64 holder APART;

static void ring(u64 hart) {
  __asm__ volatile("csrw mie, %0" :: "r"(8ul));
  for (u64 i = 0; i < ROUNDS / 8; i++) {
    if (hart != 0 || i != 0) {
      u64 pending;
      do {
        __asm__ volatile("wfi\n csrr %0, mip" : "=r"(pending) :: "memory");
      } while (!(pending & 8));
      MSIP[hart] = 0;
    }
    full();
    check(holder == hart, 80);
    holder = (hart + 1) % HARTS;
    full();
    MSIP[(hart + 1) % HARTS] = 1;
  }
  meet();
}

void main(u64 hart) {
  if (hart == 0) {
    sums[7] = 1000;
    for (int i = 0; i < 4; i++) push(&nodes[i]);
  }
  meet();
  count(hart);
  meet();
  if (hart == 0) counted();
  stack(hart);
  meet();
  if (HARTS > 1) order(hart);
  pass(hart);
  rewrite(hart);
  remap(hart);
  ring(hart);
  if (hart == 0) for (;;) SYSCON = 0x5555;
  for (;;) __asm__ volatile("wfi");
}
