-- One post to a room: dropped if it is a copy, otherwise given its place.
--
-- KEYS: the client's last number (seq), and the stream of all rooms.
-- ARGV: the number, with 20 digits; room, name and text; how many messages
--       the stream keeps, and for how many seconds a client is remembered.
local seq, room, name, text, length, seconds = unpack(ARGV)
local last = redis.call('GET', KEYS[1])
if last and last >= seq then
    return 'copy'
end
redis.call('XADD', KEYS[2], 'MAXLEN', length, '*',
    'room', room, 'name', name, 'text', text)
redis.call('SET', KEYS[1], seq, 'EX', seconds)
return 'new'
