-- What an operator of HAProxy would write to interpret scopes, as section 4 of the paper describes it: split the scope
-- into service and location, find the location of this service, take the first site of it that is
-- known, name its backend.  Both forms are as good as Lua makes them: patterns, no tables per character; the second
-- keeps what it found out (bounded), since a mesh sees few different scopes.
local sites = { dc1 = "local", dc2 = "other" }
local service = "image"

local function location_of(scope)
   for binding in scope:gmatch("[^,]+") do
      local name, location = binding:match("^%s*{?%s*([%w_.%-]+)%s*[:=]%s*(.-)%s*}?%s*$")
      if name == service then
         return location
      end
   end
   return nil
end

local function first_site(location)
   for alternative in location:gmatch("[^;]+") do
      for site in alternative:gmatch("[^&]+") do
         local backend = sites[site:match("^%s*(.-)%s*$")]
         if backend then
            return backend
         end
      end
   end
   return "local"
end

local function interpret(scope)
   local location = scope and location_of(scope)
   return location and first_site(location) or "local"
end

local seen, count = {}, 0

local function remember(scope)
   local backend = seen[scope]
   if not backend then
      backend = interpret(scope)
      if count >= 10000 then
         seen, count = {}, 0
      end
      seen[scope] = backend
      count = count + 1
   end
   return backend
end

core.register_fetches("scope", function(txn)
   return interpret(txn.f:req_fhdr("X-Scope"))
end)

core.register_fetches("scope_memo", function(txn)
   local scope = txn.f:req_fhdr("X-Scope")
   return scope and remember(scope) or "local"
end)
