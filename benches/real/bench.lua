-- Strings, tables, closures and arithmetic; prints what they come to.
local state = 12345
local function random(below)
  state = (state * 1103515245 + 12345) % 2147483648
  return state % below
end

local words, counts = {}, {}
for i = 1, 60000 do
  local word = string.format("w%x", random(5000) * 7919)
  words[i] = word
  counts[word] = (counts[word] or 0) + 1
end
table.sort(words)

local parts = {}
for i = 1, #words, 7 do
  parts[#parts + 1] = words[i]:upper():reverse():gsub("%d", function(d) return d + 1 end)
end
local text = table.concat(parts, " ")
local matches = 0
for word in text:gmatch("%a+") do matches = matches + #word end

local function queens(n, row, columns, left, right)
  if row == n then return 1 end
  local found = 0
  for column = 0, n - 1 do
    local l, r = row + column, row - column + n
    if not (columns[column] or left[l] or right[r]) then
      columns[column], left[l], right[r] = true, true, true
      found = found + queens(n, row + 1, columns, left, right)
      columns[column], left[l], right[r] = nil, nil, nil
    end
  end
  return found
end

local sum = 0.0
for i = 1, 1500000 do sum = sum + (i % 7) * 0.5 end
print(#text, matches, queens(8, 0, {}, {}, {}), counts[words[1]], string.format("%.3f", sum))
