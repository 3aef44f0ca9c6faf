-- One ADD: looked up, added and remembered, with nothing else in between.
--
-- KEYS: the client, how many clients there are, and whose data this is.
-- ARGV: whose data it shall be; the number (seq) and the one 63 above it, both
--       with 20 digits; the slot in the window, seq modulo 64; the amount; the
--       most clients.
--
-- Numbers stay texts: Lua's own are doubles, which skip some integers from
-- 2^53 on. With 20 digits each, texts compare as their numbers do.
local name, seq, newest, slot, amount, most = unpack(ARGV)
if redis.call('GET', KEYS[3]) ~= name then
    return 'other'
end
local known = redis.call('HMGET', KEYS[1], 'highest', slot)
local highest, done = known[1], known[2]

if not highest then
    if tonumber(redis.call('GET', KEYS[2]) or 0) >= tonumber(most) then
        return 'full'
    end
    redis.call('INCR', KEYS[2])
    highest = seq
end
if highest > newest then
    return 'stale'
end

-- The 64 live numbers have 64 different slots. So if another number is in
-- ours, it is 64 or more below, and may be overwritten.
local parts = '(%S+) (%S+) (%S+)'
local old_seq, old_amount, answer = string.match(done or '', parts)
if old_seq == seq then
    return old_amount == amount and answer or 'conflict'
end

-- HINCRBY counts with 64 bits, and refuses what would not fit. What it returns
-- is one of Lua's numbers, so the total is read once more, as a text.
local sum = redis.pcall('HINCRBY', KEYS[1], 'total', amount)
if type(sum) == 'number' then
    answer = redis.call('HGET', KEYS[1], 'total')
elseif string.find(sum.err, 'overflow') then
    answer = 'overflow'
else
    return sum
end
if seq > highest then
    highest = seq
end
local record = seq .. ' ' .. amount .. ' ' .. answer
redis.call('HSET', KEYS[1], 'highest', highest, slot, record)
return answer
