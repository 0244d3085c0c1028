# scope
