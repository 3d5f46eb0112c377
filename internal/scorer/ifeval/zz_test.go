package ifeval
import ("testing";"time";"strings")
func TestZZ(t *testing.T){
	ids, kwargs := everyInstruction("word", 3, "at least")
	for _, unit := range []string{"\n", " ", "*", "-\n", "[", "<<", ".", "! ", "'", "\"", "a. ", "P. ", "word ", "{", "`", "``", "'\n"} {
	 for i:=range ids { c,err:=Compile(ids[i:i+1],kwargs[i:i+1]); if err!=nil{continue}; st:=time.Now(); c.Check(strings.Repeat(unit, 200_000/len(unit))); if d:=time.Since(st);d>50*time.Millisecond {t.Log(unit,ids[i],d)}}
	}
}
