% A program that uses something of all that a machine of the kind can do.
% It reads lines, adds up their letters, computes Fibonacci numbers by recursion and
% by floating point, trips, resumes, saves its registers, and keeps a file.
n           IS     $0
t           IS     $255
            LOC    Data_Segment
base        GREG   @
line        OCTA   0
            LOC    line+80
digits      OCTA   0
            LOC    line+120
name        BYTE   "notes",0
mode        OCTA   name,BinaryReadWrite
again       OCTA   name,BinaryRead
ask         OCTA   line,64
put         OCTA   line,16
hello       BYTE   "What is it?",#a,0
sum         BYTE   "The sum is ",0
fibs        BYTE   "; and so on: ",0
bad         BYTE   "No notes.",#a,0
newline     BYTE   #a,0
            OCTA
table       LOC    @+256*8
half        GREG   #3fe0000000000000
ten         GREG   #4024000000000000
count       GREG
serial      GREG
cells       GREG   table

            LOC    V_Handler
            PUSHJ  255,Overflow
            PUT    rJ,$255
            GET    $255,rB
            RESUME

            LOC    #200
Overflow    GET    $0,rZ
            XOR    count,count,$0
            POP    0,0

% fib(n), by the definition.
Fib         CMPU   $1,$0,2
            BN     $1,Small
            GET    $1,rJ
            SUBU   $3,$0,1
            PUSHJ  $2,Fib
            SUBU   $4,$0,2
            PUSHJ  $3,Fib
            ADDU   $0,$2,$3
            PUT    rJ,$1
Small       POP    1,0

% Prints $0 in decimal.
Print       LDA    $1,digits
            ADDU   $1,$1,24
            STCO   0,$1,0
1H          SUBU   $1,$1,1
            PUT    rD,0
            DIVU   $0,$0,10
            GET    $2,rR
            ADDU   $2,$2,'0'
            STBU   $2,$1,0
            BNZ    $0,1B
            OR     t,$1,0
            TRAP   0,Fputs,StdOut
            POP    0,0

Main        GET    serial,rN
            LDA    t,hello
            TRAP   0,Fputs,StdOut
Loop        LDA    t,ask
            TRAP   0,Fgets,StdIn
            BN     t,Done
            SET    $0,0
            LDA    $1,line
2H          LDBU   $2,$1,0
            BZ     $2,3F
            MUL    $3,$2,$2
            16ADDU $0,$0,$3
            MOR    $4,$3,half
            SADD   $5,$4,0
            SL     $6,$5,3
            AND    $6,$6,#ff
            STO    $0,cells,$6
            LDT    $7,cells,$6
            CSOD   $0,$7,$5
            ADDU   $1,$1,1
            JMP    2B
3H          SWYM
            SETL   $3,#4000
            PUT    rA,$3
            SETH   $3,#7fff
            ADD    $3,$3,$3
            PUT    rA,0
            FLOT   $3,$0
            FSQRT  $3,$3
            FDIV   $3,$3,ten
            FADD   $3,$3,half
            FIX    $3,ROUND_OFF,$3
            XOR    $0,$0,$3
            ANDNH  $0,#f000
            LDA    t,sum
            TRAP   0,Fputs,StdOut
            OR     $3,$0,0
            PUSHJ  $2,Print
            LDA    t,fibs
            TRAP   0,Fputs,StdOut
            AND    $3,$0,#f
            PUSHJ  $2,Fib
            OR     $4,$2,0
            PUSHJ  $3,Print
            LDA    t,newline
            TRAP   0,Fputs,StdOut
            SAVE   $255,0
            UNSAVE $255
            LDA    t,mode
            TRAP   0,Fopen,7
            BN     t,Loop
            STO    serial,line
            STO    $0,base,8
            LDA    t,put
            TRAP   0,Fwrite,7
            SET    t,0
            TRAP   0,Fseek,7
            TRAP   0,Fclose,7
            LDA    t,again
            TRAP   0,Fopen,8
            BN     t,None
            LDA    t,put
            TRAP   0,Fread,8
            TRAP   0,Fclose,8
            LDBU   $1,line
            CMP    $2,$1,'q'
            BNZ    $2,Loop
None        LDA    t,bad
            TRAP   0,Fputs,StdOut
            JMP    Loop
Done        SET    t,3
            TRAP   0,Halt,0
