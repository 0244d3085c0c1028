-- Writes for bench/replicate: wrk -s replicate.lua URL -- METHOD FILE, a path a line; they are taken in turn.
dofile(os.getenv('REPORT'))

local method, paths, at = nil, {}, 0

function init(args)
   method = args[1]
   for line in io.lines(args[2]) do
      paths[#paths + 1] = line
   end
end

function request()
   at = at % #paths + 1
   return wrk.format(method, paths[at], nil, '{"name": "a note of some length, as clients send them", "size": 1234}')
end
