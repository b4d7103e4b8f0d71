liked (08@J
ageyoungoldR
adamÕÃL=%
◊#<-ÕÃL>Zfloat32b
	CALL_ONCEb

VAR_HANDLEb

GATHERb
GREATERb
CASTb
MULb
RESHAPEb
TILEb
READ_VARIABLEb
FULLY_CONNECTEDb
SUBb
SUMb
CONCATENATIONb
BATCH_MATMULb
ADDb
TANHb
STRIDED_SLICEb
ASSIGN_VARIABLEb
POWb
SQRTb
DIVb
ABSb
NEGb
EXPb
LOGb
RELUb
LOGISTICb

SELECTb
MAXIMUMb

SQUAREb	
ADD_Nb
	SELECT_V2jtflite-runtime 2.14.0z ¡–ø∑u¯QÂ-"›À„πõo0e™)-yâLèå-nZ¨Ç í¬ôú†à∫èÜYVÍpNëo/˘=_bÙ%ÌK«ä '≥ÃyiÉ’f9
n{Ö®ExÏd.<œ·PE°◊í ∞˜BÂıûÒ.)/-Mƒ≤óc<ûÓÃ⁄Â`Yb…2F