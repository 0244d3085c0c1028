/* Two sites, three operations, the order rule (replication/order.h): an exhaustive check, by spin, of what the simulator
 * checks at random.  tests/model/check runs it.
 *
 * The operations are updates of two fields (a PUT that may be partial, a bit mask), an append, or a delete; each kind is
 * tried for each.  Operation i enters at site 0 or 1 at any time and follows what that site has executed.  A site hears of
 * the other's operations in any order that keeps causality, and between any two steps.  Clocks are arbitrary, but greater
 * than what the site has seen.  An execution that is being repeated may be interrupted by an arrival.
 *
 * Asserted at the end: both sites are equal in what updates and deletes write, each append was executed once at each site
 * or the resource is gone; and at every execution that the operation's past is there. */
#define OPS 3
#define UPDATE 0
#define APPEND 1
#define DELETE 2

typedef Op { byte kind; byte mask; byte clock; byte past; byte site; bool exists };
/* over, again, and known: sets of operations */
typedef Site { byte over; byte known; byte again; byte executed; byte field[2]; byte appends[OPS]; bool gone; byte clock };

Op op[OPS];
Site site[2];
byte count = 0;

#define BIT(i) (1 << (i))
#define IN(set, i) (((set) >> (i)) & 1)
/* clocks of one site are different; between sites the site decides */
#define EARLIER(i, j) (op[i].clock < op[j].clock || (op[i].clock == op[j].clock && op[i].site < op[j].site))

inline execute(s, i) {
	assert((op[i].past & ~site[s].over) == 0);
	if
	:: op[i].kind == UPDATE ->
		assert(!site[s].gone);
		if :: op[i].mask & 1 -> site[s].field[0] = i + 1 :: else fi;
		if :: op[i].mask & 2 -> site[s].field[1] = i + 1 :: else fi
	:: op[i].kind == APPEND -> assert(!site[s].gone); site[s].appends[i]++
	:: op[i].kind == DELETE -> site[s].gone = true; site[s].field[0] = 0; site[s].field[1] = 0; site[s].again = 0
	fi;
	site[s].executed = site[s].executed | BIT(i)
}

/* What was executed and is later than i, and an update, is to be executed again. */
inline mark_later(s, i, j) {
	j = 0;
	do
	:: j < OPS ->
		if
		:: j != i && IN(site[s].executed, j) && op[j].kind == UPDATE && EARLIER(i, j) -> site[s].again = site[s].again | BIT(j)
		:: else
		fi;
		j++
	:: else -> break
	od
}

/* Of what is ready the deletes first, then the earliest; it is executed, or passed over where the resource is gone. */
inline step(s, i, j, best) {
	best = OPS;
	i = 0;
	do
	:: i < OPS ->
		if
		:: (IN(site[s].again, i) || (IN(site[s].known, i) && !IN(site[s].over, i))) && (op[i].past & ~site[s].over) == 0 ->
			if
			:: best == OPS -> best = i
			:: else ->
				if
				:: op[i].kind == DELETE && op[best].kind != DELETE -> best = i
				:: (op[i].kind == DELETE) == (op[best].kind == DELETE) && EARLIER(i, best) -> best = i
				:: else
				fi
			fi
		:: else
		fi;
		i++
	:: else -> break
	od;
	if
	:: best == OPS
	:: else ->
		if
		:: site[s].gone -> skip
		:: else ->
			if :: op[best].kind == UPDATE -> mark_later(s, best, j) :: else fi;
			execute(s, best)
		fi;
		site[s].over = site[s].over | BIT(best);
		site[s].again = site[s].again & ~BIT(best)
	fi
}

#define IDLE(s) (site[s].again == 0 && (site[s].known & ~site[s].over) == 0)

proctype member(byte s) {
	byte i, j, best;

	do
	/* a client, when nothing is to be done: what is deleted takes no write */
	:: atomic { count < OPS && IDLE(s) && !site[s].gone ->
		i = count;
		if :: op[i].kind = UPDATE :: op[i].kind = APPEND :: op[i].kind = DELETE fi;
		if :: op[i].mask = 1 :: op[i].mask = 2 :: op[i].mask = 3 fi;
		if :: op[i].clock = site[s].clock + 1 :: op[i].clock = site[s].clock + 2 fi;
		op[i].site = s;
		op[i].past = site[s].over;
		op[i].exists = true;
		site[s].clock = op[i].clock;
		site[s].known = site[s].known | BIT(i);
		execute(s, i);
		site[s].over = site[s].over | BIT(i);
		count++ }
	/* one of the other's comes */
	:: atomic { (site[1 - s].over & ~site[s].known) != 0 ->
		if
		:: IN(site[1 - s].over, 0) && !IN(site[s].known, 0) -> i = 0
		:: IN(site[1 - s].over, 1) && !IN(site[s].known, 1) -> i = 1
		:: IN(site[1 - s].over, 2) && !IN(site[s].known, 2) -> i = 2
		fi;
		site[s].known = site[s].known | BIT(i);
		if :: op[i].clock > site[s].clock -> site[s].clock = op[i].clock :: else fi }
	:: atomic { !IDLE(s) -> step(s, i, j, best) }
	:: atomic { site[0].over == site[1].over && IDLE(0) && IDLE(1) && (count == OPS || site[0].gone) -> break }
	od
}

init {
	byte i = 0;

	atomic { run member(0); run member(1) };
	(_nr_pr == 1);
	assert(site[0].gone == site[1].gone);
	assert(site[0].field[0] == site[1].field[0] && site[0].field[1] == site[1].field[1]);
	do
	:: i < OPS ->
		assert(site[0].appends[i] <= 1 && site[1].appends[i] <= 1);
		assert(!op[i].exists || op[i].kind != APPEND || site[0].gone || (site[0].appends[i] == 1 && site[1].appends[i] == 1));
		i++
	:: else -> break
	od
}
