# Loops, arithmetic, strings and functions of a shell; prints what they come to.
collatz() {
    x=$1 steps=0
    while [ "$x" -ne 1 ]; do
        if [ $((x % 2)) -eq 0 ]; then x=$((x / 2)); else x=$((3 * x + 1)); fi
        steps=$((steps + 1))
    done
}
total=0 text=
i=1
while [ "$i" -le 700 ]; do
    collatz "$i"
    total=$((total + steps))
    case $steps in *7*) text="$text.$i" ;; esac
    i=$((i + 1))
done
echo "$total ${#text} ${text##*.}"
