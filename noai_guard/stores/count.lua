-- Take in one worker's totals of a window and return everybody's.
-- KEYS: the window, a hash of totals and of each worker's own. ARGV: seconds to live, maximum of fields, worker, then
-- a key and the worker's total of it, any number of times.
local window, max, worker = KEYS[1], tonumber(ARGV[2]), ARGV[3]
local size = redis.call('HLEN', window)
local totals = {}
for i = 4, #ARGV, 2 do
  local key, mine = ARGV[i], tonumber(ARGV[i + 1])
  local own = key .. '\n' .. worker
  local before = redis.call('HGET', window, own)
  if before or size < max then
    local grown = mine - (tonumber(before) or 0)
    if grown > 0 then
      redis.call('HSET', window, own, mine)
      totals[#totals + 1] = redis.call('HINCRBY', window, key, grown)
    else
      totals[#totals + 1] = tonumber(redis.call('HGET', window, key) or mine)
    end
    if not before then size = size + 2 end
  else
    -- No room: this worker's total is known to it alone.
    totals[#totals + 1] = tonumber(redis.call('HGET', window, key) or 0) + mine
  end
end
redis.call('EXPIRE', window, ARGV[1])
return totals
